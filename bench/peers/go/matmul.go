// SPDX-License-Identifier: MIT

// The matrix multiplication of bench/common/forked.c, with the leaf that everybody calls. It takes
// some 25 us: long enough for the call of C not to matter, and too short for the runtime to give
// the worker to another goroutine meanwhile, so that no more leaves than workers run at once (with
// one worker, none of 16,000 met another).
package main

// #cgo CFLAGS: -O3 -I${SRCDIR}/../../common -I${SRCDIR}/../../../runtime
// #include "work.h"
import "C"

import (
	"sync"
	"unsafe"
)

var matmulWork = work{size: 1024, quick: 256, expected: 1024, quickResult: 256, unit: ms,
	run: matmulAll, before: matmulBegin, check: matmulCheck}

func matmulBegin(size int) {
	C.matmul_begin(C.int(size))
}

func matmulCheck(size int) {
	if errors := C.matmul_errors(C.int(size)); errors != 0 {
		fail("WRONG: %d rows", errors)
	}
}

// The matrices are C's memory, so that their addresses may be handed over.
type product struct {
	c, a, b *C.double
	size    int
}

func part(m *C.double, half, row, column int) *C.double {
	offset := (row*C.MATMUL_STRIDE + column) * half
	return (*C.double)(unsafe.Add(unsafe.Pointer(m), offset*C.sizeof_double))
}

// c += a b: four independent products, and when they are done four more.
func (p product) matmul() {
	if p.size == C.MATMUL_LEAF {
		C.matmul_leaf(p.c, p.a, p.b)
		return
	}
	half := p.size / 2
	for k := 0; k < 2; k++ {
		var wg sync.WaitGroup
		wg.Add(3)
		for i := 0; i < 3; i++ {
			quarter := p.quarter(half, i/2, i%2, k)
			go func() {
				quarter.matmul()
				wg.Done()
			}()
		}
		p.quarter(half, 1, 1, k).matmul()
		wg.Wait()
	}
}

func (p product) quarter(half, row, column, k int) product {
	return product{part(p.c, half, row, column), part(p.a, half, row, k),
		part(p.b, half, k, column), half}
}

func matmulAll(size int) int64 {
	m := C.matmul_matrices()
	product{m.c, m.a, m.b, size}.matmul()
	return int64(size)
}
