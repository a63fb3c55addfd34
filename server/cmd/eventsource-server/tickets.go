package main

import (
	"errors"
	"flag"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// ticketLimits has the flags about tickets.
type ticketLimits struct {
	on                bool
	perSubject, perIP int
	bytes             int64
}

func (l *ticketLimits) flags(f *flag.FlagSet) {
	f.BoolVar(&l.on, "tickets", false, "issue tickets at POST /ticket, for browsers' own EventSource, which cannot send a token")
	f.IntVar(&l.perSubject, "max-tickets-per-subject", server.DefaultMaxTicketsPerSubject, "maximum `number` of used tickets per subject that can still resume; -1 means no limit")
	f.IntVar(&l.perIP, "max-tickets-per-ip", server.DefaultMaxTicketsPerIP, "maximum `number` of used tickets per address, for grants without a subject; -1 means no limit")
	f.Int64Var(&l.bytes, "max-ticket-bytes", server.DefaultMaxTicketBytes, "maximum `bytes` of memory for used tickets; -1 means no limit")
}

func (l *ticketLimits) validate(given map[string]bool) error {
	if !l.on && (given["max-tickets-per-subject"] || given["max-tickets-per-ip"] || given["max-ticket-bytes"]) {
		return errors.New("-max-tickets-per-subject, -max-tickets-per-ip and -max-ticket-bytes require -tickets")
	}
	return nil
}

// tickets returns nil if tickets are disabled.
func (l *ticketLimits) tickets() *server.Tickets {
	if !l.on {
		return nil
	}
	return &server.Tickets{MaxPerSubject: l.perSubject, MaxPerIP: l.perIP, MaxBytes: l.bytes}
}
