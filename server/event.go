package server

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// gapType is the type of gap events. Events of publishers must not look like them.
const gapType = "gap"

// checkEvent returns an error if the event cannot be published to any topic.
func (b *Broker) checkEvent(e sse.Event) error {
	switch {
	case e.Type == gapType:
		return ErrReservedType
	case strings.ContainsAny(e.Type, "\r\n"):
		return sse.ErrInvalidType
	case e.Retry == 0:
		return nil
	}
	least, most := cmp.Or(b.MinRetry, DefaultMinRetry), cmp.Or(b.MaxRetry, DefaultMaxRetry)
	if least > 0 && e.Retry < uint64(least.Milliseconds()) {
		return fmt.Errorf("%w: must be at least %d ms", ErrInvalidRetry, least.Milliseconds())
	}
	if most > 0 && e.Retry > uint64(most.Milliseconds()) {
		return fmt.Errorf("%w: must be at most %d ms", ErrInvalidRetry, most.Milliseconds())
	}
	return nil
}
