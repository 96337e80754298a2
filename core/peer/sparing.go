package peer

import (
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// sparingPause is how long the log has nothing to say of what it has said.
	sparingPause = time.Minute
	// maxSpared bounds what is remembered of that.
	maxSpared = 1000
)

// remark is what a line is about: whom, and what is said of it.
type remark struct{ about, text string }

// sparing keeps the log from saying the same again and again. It is safe for
// concurrent use; the zero value is ready.
type sparing struct {
	mu   sync.Mutex
	told map[remark]time.Time
}

// due says whether it is time for a line.
func (s *sparing) due(r remark, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, known := s.told[r]; known && now.Sub(last) < sparingPause {
		return false
	}
	if len(s.told) >= maxSpared {
		for r, last := range s.told {
			if now.Sub(last) >= sparingPause {
				delete(s.told, r)
			}
		}
		if len(s.told) >= maxSpared {
			return false
		}
	}
	if s.told == nil {
		s.told = make(map[remark]time.Time)
	}
	s.told[r] = now
	return true
}

// reasonOf is an error without the addresses that it happened between.
func reasonOf(err error) string {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

// host is where a connection comes from, without a port.
func host(conn net.Conn) string {
	address := conn.RemoteAddr().String()
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}
