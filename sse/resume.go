package sse

// A State is the state of a [Parser] between two chunks of a stream.
type State struct {
	LastEventID         []byte
	IDBuffer            []byte // the id that the next blank line commits, if IDChanged
	IDChanged           bool
	EventType           []byte
	Data                []byte // of the unfinished event, with LF between its lines
	DataLines           int
	Line                []byte // the beginning of the unfinished line
	BOM                 int    // bytes of a leading byte order mark, or 3 when none can follow
	AfterCR             bool   // the last line ended in CR
	ReconnectionTime    uint64 // milliseconds
	HasReconnectionTime bool   // a retry field has set ReconnectionTime
}

// Resume makes the parser continue where another one stopped. It copies what it needs from s. It parses the beginning
// of an unfinished line again, so for a long line that is ignored, a few bytes are enough.
func (p *Parser) Resume(s State) {
	p.Reset()
	p.lastEventID = append(p.lastEventID[:0], s.LastEventID...)
	p.idBuffer, p.idChanged = append(p.idBuffer, s.IDBuffer...), s.IDChanged
	p.eventType = append(p.eventType, s.EventType...)
	p.data, p.dataLines = append(p.spare, s.Data...), s.DataLines
	p.reconnectionTime, p.hasRetry = s.ReconnectionTime, s.HasReconnectionTime
	p.bom = min(s.BOM, len(utf8BOM))
	if len(s.Line) > 0 {
		p.bom = len(utf8BOM)
	}
	p.Feed(s.Line)
	p.Next()
	p.afterCR = s.AfterCR
}

// Rest returns the part of the chunk after the event that Next returned.
func (p *Parser) Rest() []byte { return p.chunk[p.pos:] }
