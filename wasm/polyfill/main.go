//go:build js && wasm

// The polyfill's WebAssembly module: one instance runs the connections of all EventSource objects of a realm. Its other
// half is js/, which loads it. Each calls the other by these rules:
//
//   - js/ calls the exported functions, with numbers only. They are the inputs of package lifecycle.
//   - This module calls methods of js/connection.js through safejs, which are lifecycle's commands. Such a method may
//     fire an event, whose listener may call an exported function: the source is up to date before each call.
//   - The bytes of a stream take neither way but [feed].
package main

import "github.com/hack-pad/safejs"

// build is set by the linker. js/engine.js has the same one and refuses a module of any other.
var build = "unknown"

// engine is the object that js/engine.js gives this module in place of a global one.
var engine safejs.Value

func main() {
	var err error
	if engine, err = safejs.Global().Get("engine"); err != nil {
		panic(err)
	}
	if _, err := engine.Call("ready", build); err != nil {
		panic(err)
	}
	select {} // exported functions work for as long as main does
}
