// Goroutines that the runtime preempts by SIGURG, channels, garbage collection, faults that become panics, and children.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"
)

func spin(rounds int) (sum uint64) {
	for i := 0; i < rounds; i++ {
		sum += uint64(i) * uint64(i)
	}
	return
}

func fault() (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	var nowhere *[8]int
	return fmt.Sprint(nowhere[3])
}

func main() {
	var group sync.WaitGroup
	sums := make([]uint64, 8)
	for i := range sums {
		group.Add(1)
		go func(i int) { defer group.Done(); sums[i] = spin(20000000) }(i)
	}
	// Needs the others to be stopped, which are in loops without a call.
	for i := 0; i < 5; i++ {
		runtime.GC()
	}
	group.Wait()
	fmt.Println("sums", sums)

	numbers := make(chan int)
	go func() {
		for i := 0; i < 2000; i++ {
			numbers <- i
		}
		close(numbers)
	}()
	total := 0
	for n := range numbers {
		total += n
	}
	fmt.Println("total", total)

	for i := 0; i < 50; i++ {
		if text := fault(); i == 49 {
			fmt.Println(text)
		}
	}

	signals := make(chan os.Signal, 100)
	signal.Notify(signals, syscall.SIGUSR1)
	for i := 0; i < 10; i++ {
		syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		fmt.Println(<-signals)
	}

	for i := 0; i < 10; i++ {
		command := exec.Command("cat")
		command.Stdin = bytes.NewReader(bytes.Repeat([]byte("x"), 100000))
		out, err := command.Output()
		fmt.Println(len(out), err)
	}

	locked := make(chan bool)
	for i := 0; i < 20; i++ {
		// Its thread ends with it.
		go func() { runtime.LockOSThread(); locked <- true }()
		<-locked
	}
	timer := time.AfterFunc(time.Hour, func() {})
	fmt.Println(timer.Stop())
	os.Exit(3)
}
