// SPDX-License-Identifier: MIT

// Contestant: goroutines of the Go runtime. Asks itself, as its jobs are no functions of C; the
// questions and the output are those of ../README.md.
//
// A job is a go statement, workers are GOMAXPROCS, and a job is waited for by a sync.WaitGroup,
// which was the faster one of the two documented ways; the other is a channel. There is no outside
// of the Go runtime: whoever submits is a goroutine too and shares the workers, so with one worker
// nothing runs until it waits, and a round trip need not leave its thread.
//
// Go has no thread-local data for jobs to count themselves in: each one does an atomic addition, in
// WaitGroup.Done, or, where the number is looked at meanwhile, to its producer's counter. That is
// some 5 ns of the 130 to 800 that a goroutine costs. Context switches are those of all threads,
// since the one that asks has no thread of its own.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A question while it is being asked.
type asked struct {
	workers int
	quick   bool
	values  []float64
	extras  []float64
}

var questions = map[string]func(a *asked){
	"fib":         func(a *asked) { compute(a, fibWork) },
	"nqueens":     func(a *asked) { compute(a, queensWork) },
	"skynet":      func(a *asked) { compute(a, skynetWork) },
	"uts-t1":      func(a *asked) { compute(a, utsT1Work) },
	"uts-t3":      func(a *asked) { compute(a, utsT3Work) },
	"matmul":      func(a *asked) { compute(a, matmulWork) },
	"round-trip":  roundTrip,
	"wake":        wake,
	"burst":       burst,
	"million":     million,
	"producers-1": func(a *asked) { stream(a, 1) },
	"producers-2": func(a *asked) { stream(a, 2) },
	"producers-4": func(a *asked) { stream(a, 4) },
	"inside":      inside,
	"job-1ms":     computing,
	"idle":        idle,
	"create":      func(a *asked) { skip("the runtime starts with the process") },
}

func skip(why string) {
	fmt.Println("skip:", why)
	os.Exit(77)
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

func (a *asked) add(value float64)   { a.values = append(a.values, value) }
func (a *asked) extra(value float64) { a.extras = append(a.extras, value) }

// full, or a tenth of it.
func (a *asked) howMany(full int) int {
	if a.quick {
		return full / 10
	}
	return full
}

func median(values []float64) float64 {
	sort.Float64s(values)
	middle := len(values) / 2
	if len(values)%2 == 0 {
		return (values[middle-1] + values[middle]) / 2
	}
	return values[middle]
}

// ---------------------------------------------------------------- time and usage

var epoch = time.Now()

func now() time.Duration { return time.Since(epoch) } // the monotonic clock

func us(d time.Duration) float64 { return float64(d) / 1e3 }

type usage struct {
	cpu      time.Duration
	switches int64 // voluntary ones
}

func usageNow() usage {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		fail("getrusage: %v", err)
	}
	return usage{time.Duration(r.Utime.Nano() + r.Stime.Nano()), r.Nvcsw}
}

// ---------------------------------------------------------------- computations

const (
	warmRuns  = 20
	roundsMax = 20
	roundsFor = 500 * time.Millisecond
)

type work struct {
	size, quick           int
	expected, quickResult int64
	run                   func(size int) int64
	before, check         func(size int) // not timed; nil: nothing to do
	unit                  func(size int) float64
}

func ms(int) float64 { return 1e6 }

func (w *work) once(quick bool) (time.Duration, int) {
	size, expected := w.size, w.expected
	if quick {
		size, expected = w.quick, w.quickResult
	}
	if w.before != nil {
		w.before(size)
	}
	start := now()
	result := w.run(size)
	took := now() - start
	if result != expected {
		fail("WRONG: %d, not %d", result, expected)
	}
	if w.check != nil {
		w.check(size)
	}
	return took, size
}

// A small run for warming up; then a short computation is repeated, a long one is not.
func compute(a *asked, w work) {
	warmUp()
	w.once(true)
	for begin := now(); len(a.values) == 0 || !a.quick && now()-begin < roundsFor; {
		took, size := w.once(a.quick)
		a.add(float64(took) / w.unit(size))
		if len(a.values) == roundsMax {
			break
		}
	}
}

func runOne() {
	var wg sync.WaitGroup
	wg.Add(1)
	go wg.Done()
	wg.Wait()
}

func warmUp() {
	for i := 0; i < warmRuns; i++ {
		runOne()
	}
}

// ---------------------------------------------------------------- the program

func usageExit() {
	fmt.Fprintf(os.Stderr, "usage: %s QUESTION WORKERS [quick]\n", os.Args[0])
	os.Exit(1)
}

func main() {
	if len(os.Args) == 1 {
		fmt.Println("Go", strings.TrimPrefix(runtime.Version(), "go"))
		return
	}
	if len(os.Args) < 3 || len(os.Args) > 4 || len(os.Args) == 4 && os.Args[3] != "quick" {
		usageExit()
	}
	ask := questions[os.Args[1]]
	workers, err := strconv.Atoi(os.Args[2])
	if ask == nil || err != nil || workers < 1 {
		usageExit()
	}
	a := &asked{workers: workers, quick: len(os.Args) == 4}
	runtime.GOMAXPROCS(workers)
	ask(a)
	fmt.Printf("value %.6g\n", median(a.values))
	if len(a.extras) > 0 {
		fmt.Printf("extra %.6g\n", median(a.extras))
	}
}
