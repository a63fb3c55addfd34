package server

import "github.com/eventsource-wasm/eventsource-wasm/server/internal/coding"

// A Coding is a content coding that streams can be sent in. Package compress has them.
type Coding = coding.Coding

// Limits of [Handler.Codings].
const (
	DefaultMinSharing  = 4
	DefaultMaxEncoders = 64
)
