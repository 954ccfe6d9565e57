// SPDX-License-Identifier: MIT

// The quantiles of the load generator's latencies. Standard input: blocks of a count (8 bytes) and
// so many latencies in ns (4 bytes each), in the machine's order, which is little-endian here. For
// each block a line: count, p50, p90, p99, p99.9 and the greatest, in us.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/codahale/hdrhistogram"
)

const (
	maxNs  = 1<<32 - 1
	digits = 3 // of each value, exactly
)

func read(in io.Reader, count uint64) *hdrhistogram.Histogram {
	h := hdrhistogram.New(1, maxNs, digits)
	buffer := make([]byte, 1<<16)
	for left := count * 4; left > 0; {
		part := buffer
		if left < uint64(len(part)) {
			part = part[:left]
		}
		if _, err := io.ReadFull(in, part); err != nil {
			log.Fatal(err)
		}
		left -= uint64(len(part))
		for ; len(part) > 0; part = part[4:] {
			if err := h.RecordValue(int64(binary.LittleEndian.Uint32(part))); err != nil {
				log.Fatal(err)
			}
		}
	}
	return h
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		var count uint64
		err := binary.Read(in, binary.LittleEndian, &count)
		if err == io.EOF {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		h := read(in, count)
		fmt.Print(h.TotalCount())
		for _, q := range []float64{50, 90, 99, 99.9, 100} {
			fmt.Printf(" %.3f", float64(h.ValueAtQuantile(q))/1e3)
		}
		fmt.Println()
	}
}
