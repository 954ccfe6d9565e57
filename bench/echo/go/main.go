// SPDX-License-Identifier: MIT

// Contestant: Go, a goroutine for each connection, which reads and writes. TCP_NODELAY is what its
// sockets have anyhow.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"runtime"
	"syscall"
)

func echo(c *net.TCPConn, buffer []byte, mixed bool) {
	defer c.Close()
	at := 0
	for {
		n, err := c.Read(buffer)
		if err != nil {
			return
		}
		if mixed {
			at = burnMarked(at, buffer[:n])
		}
		if _, err := c.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func main() {
	if len(os.Args) == 1 {
		fmt.Println("Go", runtime.Version()[2:])
		return
	}
	workers := flag.Int("w", 1, "threads that run goroutines")
	mixed := flag.Bool("m", false, "burn 1 ms for each message that begins with H")
	size := flag.Int("b", 16384, "bytes of a connection's buffer")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: go [-w workers] [-m] [-b bytes] PORT")
	}
	runtime.GOMAXPROCS(*workers)
	l, err := net.Listen("tcp4", "127.0.0.1:"+flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	for {
		c, err := l.Accept()
		if errors.Is(err, syscall.EMFILE) {
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		go echo(c.(*net.TCPConn), make([]byte, *size), *mixed)
	}
}
