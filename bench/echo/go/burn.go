// SPDX-License-Identifier: MIT

package main

import (
	"syscall"
	"unsafe"
)

const (
	mixedBytes = 64
	burnNs     = 1000000
	burnSteps  = 2000
	clockCPU   = 3 // CLOCK_THREAD_CPUTIME_ID
)

func threadNs() int64 {
	var t syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockCPU, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano()
}

// As much processor time as server.c burns. A goroutine may go on in another thread, with another
// clock: it counts only steps between two looks that belong together.
func burn() {
	var spent int64
	x := uint64(1)
	for before := threadNs(); spent < burnNs; {
		for i := 0; i < burnSteps; i++ {
			x = x*6364136223846793005 + 1
		}
		now := threadNs()
		if step := now - before; step > 0 && step < burnNs {
			spent += step
		}
		before = now
	}
	if x == 0 {
		panic("the steps have not been made")
	}
}

// See server_burn() in ../server.h; returns how much of the next message has been seen.
func burnMarked(at int, data []byte) int {
	for next := (mixedBytes - at) % mixedBytes; next < len(data); next += mixedBytes {
		if data[next] == 'H' {
			burn()
		}
	}
	return (at + len(data)) % mixedBytes
}
