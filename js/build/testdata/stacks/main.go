// Command stacks does everything for which Go's runtime needs its tables: it moves deep stacks, collects garbage while they are
// deep, and panics and recovers in all ways. With an argument, it panics without recovering.
package main

import (
	"os"
	"runtime"
	"strconv"
)

type node struct {
	next  *node
	value int
}

func main() {
	if len(os.Args) > 1 {
		panic("the end of " + os.Args[1])
	}
	done := make(chan int)
	for i := range 20 {
		go func() { done <- deep(i*50, &node{value: i}) }()
	}
	for range 20 {
		<-done
	}
	for name, recovers := range map[string]func() bool{
		"a closure":                      func() bool { return recovered(func() { panic("now") }) },
		"a nil pointer":                  func() bool { return recovered(func() { var n *node; n.value++ }) },
		"an index":                       func() bool { return recovered(func() { _ = os.Args[len(os.Args)] }) },
		"a method of a wrapper":          func() bool { return method(quiet{}) },
		"a method by a pointer":          func() bool { return method(&quiet{}) },
		"a panic while panicking":        nested,
		"one of many deferred in a loop": loop,
		"no helper of a deferred":        func() bool { return recovered(helped) },
		"Goexit":                         exits,
	} {
		if !recovers() {
			panic("not as it should be: " + name)
		}
	}
	println("done")
}

// deep recurses with pointers to and from its frames, which move as the stack grows.
func deep(depth int, n *node) int {
	local := node{next: n, value: depth}
	text := strconv.Itoa(depth)
	if depth%100 == 1 {
		runtime.GC()
	}
	if depth > 0 {
		deep(depth-1, &local)
	} else {
		runtime.GC()
	}
	if local.next != n || n.value < 0 || text != strconv.Itoa(depth) {
		panic("a frame was lost")
	}
	return local.value
}

func recovered(f func()) (caught bool) {
	defer func() { caught = recover() != nil }()
	f()
	return false
}

type quieter interface{ quieten(caught *bool) }

type quiet struct{}

func (quiet) quieten(caught *bool) { *caught = recover() != nil }

func method(q quieter) (caught bool) {
	defer q.quieten(&caught)
	panic("now")
}

func nested() (caught bool) {
	defer func() { caught = recover() == "second" }()
	defer func() { panic("second") }()
	panic("first")
}

func loop() (caught bool) {
	for i := range 10 {
		defer func() {
			if i == 5 {
				caught = recover() != nil
			}
		}()
	}
	panic("now")
}

// helped does not recover: only a deferred function itself can, and here a function that it calls tries to.
func helped() {
	defer func() { recoverHere() }()
	panic("now")
}

//go:noinline
func recoverHere() { recover() }

func exits() bool {
	done := make(chan bool, 1)
	go func() {
		defer func() { done <- recover() == nil }()
		runtime.Goexit()
	}()
	return <-done
}
