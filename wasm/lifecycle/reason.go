package lifecycle

// A Reason says why a connection was lost or has failed. It is the word for that in error events.
type Reason string

const (
	ReasonEnded       Reason = "ended"        // the server ended the stream
	ReasonNetwork     Reason = "network"      // the connection could not be made, or broke
	ReasonForbidden   Reason = "forbidden"    // the browser does not allow the request
	ReasonStatus      Reason = "status"       // the response's status was not 200
	ReasonContentType Reason = "content-type" // the response was not an event stream
	ReasonLimit       Reason = "limit"        // an event was larger than the limit
	ReasonWake        Reason = "wake"         // the connection may be dead
)
