// SPDX-License-Identifier: MIT

// The computations of bench/common/forked.c: a goroutine at every call but the last one of a node,
// which the caller makes itself, and a WaitGroup for each node. No cut-off by hand.
package main

import (
	"crypto/sha1"
	"encoding/binary"
	"math"
	"sync"
)

// ---------------------------------------------------------------- fib

// 38 would take half a minute.
var fibWork = work{size: 30, quick: 22, expected: 832040, quickResult: 17711,
	unit: fibForks, run: fib}

// One in each call that is not a leaf: fib(n + 1) - 1.
func fibForks(n int) float64 {
	a, b := 0, 1
	for ; n >= 0; n-- {
		a, b = b, a+b
	}
	return float64(a - 1)
}

func fib(n int) int64 {
	if n < 2 {
		return int64(n)
	}
	var wg sync.WaitGroup
	var b int64
	wg.Add(1)
	go func() {
		b = fib(n - 2)
		wg.Done()
	}()
	a := fib(n - 1)
	wg.Wait()
	return a + b
}

// ---------------------------------------------------------------- n queens

var queensWork = work{size: 13, quick: 9, expected: 73712, quickResult: 352, unit: ms,
	run: func(size int) int64 { return queens(board{}, 0, size) }}

type board [16]int8

// May the last of so many rows stand where it stands?
func (b *board) safe(rows int) bool {
	last := int(b[rows-1])
	for i := 0; i < rows-1; i++ {
		distance, away := last-int(b[i]), rows-1-i
		if distance == 0 || distance == away || distance == -away {
			return false
		}
	}
	return true
}

func queens(b board, rows, size int) int64 {
	if rows == size {
		return 1
	}
	var next [len(b)]int8
	count := 0
	for i := 0; i < size; i++ {
		b[rows] = int8(i)
		if b.safe(rows + 1) {
			next[count] = int8(i)
			count++
		}
	}
	if count == 0 {
		return 0
	}
	return queensFork(b, rows, size, next[:count])
}

// One board for each place where the next queen may stand.
func queensFork(b board, rows, size int, places []int8) int64 {
	var wg sync.WaitGroup
	var solutions [len(b)]int64
	last := len(places) - 1
	wg.Add(last)
	for i := 0; i < last; i++ {
		i, b := i, b
		b[rows] = places[i]
		go func() {
			solutions[i] = queens(b, rows+1, size)
			wg.Done()
		}()
	}
	b[rows] = places[last]
	sum := queens(b, rows+1, size)
	wg.Wait()
	for _, s := range solutions[:last] {
		sum += s
	}
	return sum
}

// ---------------------------------------------------------------- skynet

const skynetChildren = 10

var skynetWork = work{size: 1000000, quick: 10000, expected: 499999500000, quickResult: 49995000,
	unit: ms, run: func(size int) int64 { return skynet(0, int64(size)) }}

func skynet(number, leaves int64) int64 {
	if leaves == 1 {
		return number
	}
	var wg sync.WaitGroup
	var sums [skynetChildren]int64
	const last = skynetChildren - 1
	leaves /= skynetChildren
	wg.Add(last)
	for i := int64(0); i < last; i++ {
		i := i
		go func() {
			sums[i] = skynet(number+i*leaves, leaves)
			wg.Done()
		}()
	}
	sum := skynet(number+last*leaves, leaves)
	wg.Wait()
	for _, s := range sums[:last] {
		sum += s
	}
	return sum
}

// ---------------------------------------------------------------- unbalanced tree search

const (
	utsSmall = 0
	utsT1    = 1
	utsT3    = 3
)

var utsT1Work = work{size: utsT1, quick: utsSmall, expected: 4130071, quickResult: 16000,
	unit: ms, run: uts}
var utsT3Work = work{size: utsT3, quick: utsSmall, expected: 4112897, quickResult: 16000,
	unit: ms, run: uts}

// As struct uts_tree and struct uts_node in bench/common/work.h.
type utsTree struct {
	binomial bool
	b0       float64
	depthMax int
	m        int
	q        float64
	seed     uint32
}

var utsTrees = map[int]*utsTree{
	utsSmall: {b0: 4, depthMax: 6, seed: 19},
	utsT1:    {b0: 4, depthMax: 10, seed: 19},
	utsT3:    {binomial: true, b0: 2000, q: 0.124875, m: 8, seed: 42},
}

type utsNode struct {
	state [sha1.Size]byte
	depth int32
	count int64 // of the nodes below and this one, when they have been visited
}

func uts(size int) int64 {
	var message [sha1.Size]byte
	t := utsTrees[size]
	binary.BigEndian.PutUint32(message[16:], t.seed)
	root := utsNode{state: sha1.Sum(message[:])}
	root.visit(t)
	return root.count
}

func (n *utsNode) become(parent *utsNode, index int) {
	var message [sha1.Size + 4]byte
	copy(message[:], parent.state[:])
	binary.BigEndian.PutUint32(message[sha1.Size:], uint32(index))
	n.state = sha1.Sum(message[:])
	n.depth = parent.depth + 1
}

// The last 31 bits of the digest as a number in [0, 1).
func (n *utsNode) random() float64 {
	return float64(binary.BigEndian.Uint32(n.state[16:])&math.MaxInt32) / (1 << 31)
}

func (n *utsNode) children(t *utsTree) int {
	switch {
	case !t.binomial:
		if int(n.depth) >= t.depthMax {
			return 0
		}
		p := 1 / (1 + t.b0)
		return int(math.Min(math.Floor(math.Log(1-n.random())/math.Log(1-p)), 100))
	case n.depth == 0:
		return int(t.b0)
	case n.random() < t.q:
		return t.m
	}
	return 0
}

func (n *utsNode) visit(t *utsTree) {
	n.count = 1
	if children := n.children(t); children > 0 {
		n.fork(t, children)
	}
}

func (n *utsNode) fork(t *utsTree, children int) {
	var wg sync.WaitGroup
	child := make([]utsNode, children)
	last := children - 1
	wg.Add(last)
	for i := 0; i < last; i++ {
		i := i
		go func() {
			child[i].become(n, i)
			child[i].visit(t)
			wg.Done()
		}()
	}
	child[last].become(n, last)
	child[last].visit(t)
	wg.Wait()
	for i := range child {
		n.count += child[i].count
	}
}
