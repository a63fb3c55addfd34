//go:build js && wasm

// The polyfill's WebAssembly module. One instance runs the connections of all EventSource objects of a realm. js/ loads it.
// They call each other by these rules:
//
//   - js/ calls the exported functions with numbers only. They are the inputs of package lifecycle.
//   - This module calls methods of js/connection.js through safejs. They are the commands of package lifecycle. A method may
//     fire an event, and a listener may call an exported function, so the source is up to date before each call.
//   - The bytes of a stream are passed by [feed] only.
package main

import "github.com/hack-pad/safejs"

// build is set by the linker. js/engine.js refuses a module with another value.
var build = "unknown"

// engine is the object that js/engine.js passes to this module.
var engine safejs.Value

func main() {
	var err error
	if engine, err = safejs.Global().Get("engine"); err != nil {
		panic(err)
	}
	if _, err := engine.Call("ready", build); err != nil {
		panic(err)
	}
	select {} // exported functions work only while main runs
}
