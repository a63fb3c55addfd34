package sse

// A State is what a [Parser] knows between two chunks of a stream.
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

// Resume makes the parser go on where another has stopped. It copies what it keeps of s. A line is resumed by reading its
// beginning again, so of a long line that is ignored a few bytes are enough.
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

// Rest returns what of the chunk follows the event that Next returned.
func (p *Parser) Rest() []byte { return p.chunk[p.pos:] }
