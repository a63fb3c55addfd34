package server

import "time"

// usedTicketBytes is the size that a used ticket counts, measured with many tickets of different owners and rounded up.
const usedTicketBytes = 256

// usedTickets are the used tickets, in the order of their use.
type usedTickets struct {
	byID           map[ticketID]*usedTicket
	oldest, newest *usedTicket
	owners         map[digest]*ticketOwner
	usableFrom     time.Duration // tickets issued before can no longer be used for the first time
}

type usedTicket struct {
	id            ticketID
	issued, until time.Duration
	owner         *ticketOwner // nil if unknown
	before, after *usedTicket
	next          *usedTicket // of the same owner
}

type ticketOwner struct {
	digest         digest
	tickets        int
	oldest, newest *usedTicket
}

func (u *usedTickets) has(id ticketID) bool { return u.byID[id] != nil }

func (u *usedTickets) add(t *usedTicket, owner digest) {
	if u.byID == nil {
		u.byID, u.owners = map[ticketID]*usedTicket{}, map[digest]*ticketOwner{}
	}
	u.byID[t.id] = t
	if t.before = u.newest; t.before != nil {
		t.before.after = t
	} else {
		u.oldest = t
	}
	u.newest = t
	if owner == (digest{}) {
		return
	}
	o := u.owners[owner]
	if o == nil {
		o = &ticketOwner{digest: owner}
		u.owners[owner] = o
	}
	if t.owner = o; o.newest != nil {
		o.newest.next = t
	} else {
		o.oldest = t
	}
	o.newest = t
	o.tickets++
}

// remove removes a ticket, which must be the oldest of its owner.
func (u *usedTickets) remove(t *usedTicket) {
	delete(u.byID, t.id)
	if t.before != nil {
		t.before.after = t.after
	} else {
		u.oldest = t.after
	}
	if t.after != nil {
		t.after.before = t.before
	} else {
		u.newest = t.before
	}
	o := t.owner
	if o == nil {
		return
	}
	if o.oldest = t.next; o.oldest == nil {
		delete(u.owners, o.digest)
	}
	o.tickets--
}

// forget removes expired tickets from the oldest on, up to the first valid one. Expired tickets after that are removed
// later.
func (u *usedTickets) forget(now time.Duration) {
	for u.oldest != nil && u.oldest.until <= now {
		u.remove(u.oldest)
	}
}

// makeRoomOf removes the owner's oldest ticket if it has limit of them. It reports false if that ticket was issued
// after settled: if forgotten, it could be used a second time.
func (u *usedTickets) makeRoomOf(owner digest, limit int, settled time.Duration) bool {
	o := u.owners[owner]
	if o == nil || !over(o.tickets+1, limit) {
		return true
	}
	if o.oldest.issued > settled {
		return false
	}
	u.remove(o.oldest)
	return true
}

// makeRoom removes the oldest tickets until there is room for one more.
func (u *usedTickets) makeRoom(limit int64) {
	for u.oldest != nil && over(int64(len(u.byID)+1)*usedTicketBytes, limit) {
		u.usableFrom = max(u.usableFrom, u.oldest.issued+1)
		u.remove(u.oldest)
	}
}
