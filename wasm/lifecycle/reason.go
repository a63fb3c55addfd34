package lifecycle

// A Reason says why a connection was lost or has failed.
type Reason uint8

const (
	ReasonEnded       Reason = iota + 1 // the server ended the stream
	ReasonNetwork                       // the connection could not be made, or broke
	ReasonForbidden                     // the browser does not allow the request
	ReasonStatus                        // the response's status was not 200
	ReasonContentType                   // the response was not an event stream
	ReasonLimit                         // an event was larger than the limit
	ReasonWake                          // the connection may be dead
)

// Word returns the word for the reason in error events.
func (r Reason) Word() string {
	switch r {
	case ReasonEnded:
		return "ended"
	case ReasonNetwork:
		return "network"
	case ReasonForbidden:
		return "forbidden"
	case ReasonStatus:
		return "status"
	case ReasonContentType:
		return "content-type"
	case ReasonLimit:
		return "limit"
	case ReasonWake:
		return "wake"
	default:
		return ""
	}
}

// String returns the reason as a sentence without a period.
func (r Reason) String() string {
	switch r {
	case ReasonEnded:
		return "the server ended the stream"
	case ReasonNetwork:
		return "the network failed"
	case ReasonForbidden:
		return "the browser does not allow the request"
	case ReasonStatus:
		return "the response's status is not 200"
	case ReasonContentType:
		return "the response's Content-Type is not text/event-stream"
	case ReasonLimit:
		return "an event of the stream is larger than maxEventSize"
	case ReasonWake:
		return "the connection may be dead"
	default:
		return ""
	}
}
