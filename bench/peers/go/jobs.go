// SPDX-License-Identifier: MIT

// Jobs: one and wait for it, one to a runtime at rest, 1,000 and 10^6 at once, 10^6 from inside, a
// stream from several goroutines, 64 that compute; and idleness.
package main

import (
	"crypto/sha1"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	roundTrips   = 1000
	wakes        = 300
	rest         = time.Millisecond
	burstJobs    = 1000
	bursts       = 40
	parkTime     = 2 * time.Millisecond
	allJobs      = 1000000
	window       = 1024
	chunk        = 128
	computeJobs  = 64
	computeTurns = 5
)

func roundTrip(a *asked) {
	warmUp()
	for i := 0; i < a.howMany(roundTrips); i++ {
		start := now()
		runOne()
		a.add(us(now() - start))
	}
}

func wake(a *asked) {
	count := wakes
	if a.quick {
		count /= 5
	}
	warmUp()
	time.Sleep(5 * rest)
	before := usageNow()
	for i := 0; i < count; i++ {
		var entered atomic.Int64
		start := now()
		go func() { entered.Store(int64(now())) }()
		for time.Sleep(rest); entered.Load() == 0; {
			time.Sleep(rest)
		}
		a.add(us(time.Duration(entered.Load()) - start))
	}
	a.extra(us(usageNow().cpu-before.cpu) / float64(count))
}

// Starts that many jobs; each one tells the group when it has run.
func start(wg *sync.WaitGroup, count int) {
	wg.Add(count)
	for i := 0; i < count; i++ {
		go wg.Done()
	}
}

func burst(a *asked) {
	var wg sync.WaitGroup
	count := bursts
	if a.quick {
		count /= 4
	}
	warmUp()
	time.Sleep(parkTime)
	before := usageNow()
	for i := 0; i < count; i++ {
		begin := now()
		start(&wg, burstJobs)
		wg.Wait()
		a.add(float64(now()-begin) / burstJobs)
		time.Sleep(parkTime)
	}
	a.extra(float64(usageNow().switches-before.switches) / float64(count))
}

func (a *asked) addJobs(took time.Duration, before usage, count int) {
	a.add(float64(took) / float64(count))
	a.extra(float64(usageNow().switches-before.switches) * 1000 / float64(count))
}

func million(a *asked) {
	var wg sync.WaitGroup
	count := a.howMany(allJobs)
	warmUp()
	before, begin := usageNow(), now()
	start(&wg, count)
	wg.Wait()
	a.addJobs(now()-begin, before, count)
}

func inside(a *asked) {
	var wg sync.WaitGroup
	var begin time.Duration
	count := a.howMany(allJobs)
	warmUp()
	before := usageNow()
	wg.Add(1)
	go func() {
		begin = now()
		start(&wg, count)
		wg.Done()
	}()
	wg.Wait()
	a.addJobs(now()-begin, before, count)
}

// ---------------------------------------------------------------- a steady stream

// What one producer's jobs have done, with room between it and the next.
type producer struct {
	ran atomic.Int64
	_   [120]byte
}

func (p *producer) job() { p.ran.Add(1) }

func (p *producer) waitInFlight(submitted, limit int) {
	for submitted-int(p.ran.Load()) > limit {
		runtime.Gosched()
	}
}

func (p *producer) produce(count int) {
	for submitted := 0; submitted < count; {
		n := count - submitted
		if n > chunk {
			n = chunk
		}
		p.waitInFlight(submitted, window-chunk)
		for i := 0; i < n; i++ {
			go p.job()
		}
		submitted += n
	}
	p.waitInFlight(count, 0)
}

func stream(a *asked, producers int) {
	var wg sync.WaitGroup
	all := make([]producer, producers)
	count := a.howMany(allJobs) / producers
	ready := make(chan struct{})
	warmUp()
	wg.Add(producers)
	for i := range all {
		go func(p *producer) {
			<-ready
			p.produce(count)
			wg.Done()
		}(&all[i])
	}
	before, begin := usageNow(), now()
	close(ready)
	wg.Wait()
	a.addJobs(now()-begin, before, count*producers)
	for i := range all {
		if all[i].ran.Load() != int64(count) {
			fail("WRONG: %d jobs, not %d", all[i].ran.Load(), count)
		}
	}
}

// ---------------------------------------------------------------- jobs that compute

func digest(times int) (state [sha1.Size]byte) {
	for i := 0; i < times; i++ {
		state = sha1.Sum(state[:])
	}
	return state
}

var sink [sha1.Size]byte

func serial(times, jobs int) time.Duration {
	begin := now()
	for i := 0; i < jobs; i++ {
		sink = digest(times)
	}
	return now() - begin
}

// Digests in a job of such a length, from the least of some attempts: one that was interrupted
// would make jobs too short.
func calibrate(length time.Duration) int {
	const times = 1000
	least := serial(times, 1)
	for i := 0; i < 9; i++ {
		if took := serial(times, 1); took < least {
			least = took
		}
	}
	return int(length * times / least)
}

// The ideal is the same work by the one who asks, just before, divided by the processors.
func computing(a *asked) {
	var wg sync.WaitGroup
	turns, length, cpus := computeTurns, time.Millisecond, runtime.NumCPU()
	if a.quick {
		turns, length = 1, length/2
	}
	if a.workers < cpus {
		cpus = a.workers
	}
	times := calibrate(length)
	warmUp()
	for i := 0; i < turns; i++ {
		ideal := float64(serial(times, computeJobs)) / float64(cpus)
		begin := now()
		wg.Add(computeJobs)
		for j := 0; j < computeJobs; j++ {
			go func() {
				if digest(times) == [sha1.Size]byte{} {
					fail("WRONG: a digest of zeros")
				}
				wg.Done()
			}()
		}
		wg.Wait()
		a.add(float64(now()-begin) / ideal)
	}
}

// ---------------------------------------------------------------- idleness

func idle(a *asked) {
	watched := time.Second
	if a.quick {
		watched /= 10
	}
	warmUp()
	time.Sleep(50 * time.Millisecond)
	before := usageNow()
	time.Sleep(watched)
	after := usageNow()
	a.add(us(after.cpu-before.cpu) / watched.Seconds())
	a.extra(float64(after.switches-before.switches) / watched.Seconds())
}
