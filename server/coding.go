package server

import "github.com/eventsource-wasm/eventsource-wasm/server/internal/coding"

// A Coding is a content coding for streams. Package compress has implementations; it cannot be implemented outside of
// this module.
type Coding = coding.Coding

// Defaults of a [Handler], for fields about Codings that are zero.
const (
	DefaultMinSharing  = 4
	DefaultMaxEncoders = 64
)
