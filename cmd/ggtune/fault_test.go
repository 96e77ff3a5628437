//go:build unix

package main

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/bindings/kernels"
)

func init() { scriptPrograms["faulty"] = faulty }

// faulty: `faulty HOW` is a program that begins as ggtune does and has a fault.
func faulty() {
	prepare()
	switch how := os.Args[1]; how {
	case "goroutine":
		ended := make(chan bool)
		go func() { defer close(ended); panic("a fault of ours") }()
		<-ended
		select {}
	case "kernel", "pool":
		// Memory that may not be touched, for our C code to write to, on Go's own thread and on those of the pool.
		b, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitFailure)
		}
		call := kernels.OpZero.Call(kernels.None{},
			kernels.Matrix(unsafe.Pointer(&b[0]), kernels.F32, 1<<10, 1<<8, 1<<12))
		if how == "kernel" {
			_ = kernels.Run(&call, 1)
			return
		}
		pool, err := ggml.NewPool(3)
		if err == nil {
			err = pool.Run([]kernels.Call{call}, nil)
		}
		fmt.Fprintln(os.Stderr, err)
	case "abort":
		// What a failed assertion of the C library does.
		_ = unix.Kill(os.Getpid(), unix.SIGABRT)
		select {}
	}
}
