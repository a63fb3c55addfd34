//go:build !linux

package server

import (
	"errors"
	"net"
	"time"
)

// canDetach is false where there is no epoll.
const canDetach = false

func (s *stream) detach(net.Conn) error { return errors.ErrUnsupported }

type broadcasters struct{}

func (*broadcasters) each(func(*broadcaster)) {}

type broadcaster struct{}

func (*broadcaster) order(func())        {}
func (*broadcaster) drain(time.Duration) {}
func (*broadcaster) lowest() int64       { return caughtUp }
