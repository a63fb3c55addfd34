package filestore

import (
	"log/slog"
	"sync"
	"time"
)

// spaceEvery is the minimum interval between checks of the disk. No disk fills the reserve faster.
const spaceEvery = 50 * time.Millisecond

// A space reports whether the disk is almost full.
type space struct {
	dir     string
	reserve int64
	logger  *slog.Logger

	mu    sync.Mutex
	asked time.Time
	short bool
}

func (s *space) isShort() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reserve < 0 || time.Since(s.asked) < spaceEvery {
		return s.short
	}
	s.asked = time.Now()
	free, known := freeSpace(s.dir)
	short := known && free < uint64(s.reserve)
	switch {
	case short && !s.short:
		s.logger.Error("disk is full: publishing fails until there is space", "dir", s.dir, "free", free, "reserve", s.reserve)
	case !short && s.short:
		s.logger.Info("disk has space again", "dir", s.dir, "free", free)
	}
	s.short = short
	return short
}
