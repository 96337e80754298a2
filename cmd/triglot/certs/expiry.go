package certs

import (
	"crypto/sha256"
	"time"
)

// stage is how near the end of a certificate is, in the steps at which an
// operator is told.
type stage int

const (
	lasting stage = iota
	month
	week
	day
	ended
)

const oneDay = 24 * time.Hour

// stageOf is the stage of a certificate that has so much time left.
func stageOf(left time.Duration) stage {
	switch {
	case left <= 0:
		return ended
	case left <= oneDay:
		return day
	case left <= 7*oneDay:
		return week
	case left <= 30*oneDay:
		return month
	}
	return lasting
}

// warn says of each certificate, once a stage, that its end is near.
func (k *Keeper) warn(l *loaded) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	for _, w := range l.watched {
		left := w.cert.NotAfter.Sub(now)
		reached := stageOf(left)
		id := sha256.Sum256(w.cert.Raw)
		if reached <= k.warned[id] {
			continue
		}
		k.warned[id] = reached
		about := []any{"file", w.path, "subject", w.cert.Subject.String(), "not-after", w.cert.NotAfter}
		if reached == ended {
			k.log.Warn("a certificate has ended: connections fail until there is a new one", about...)
			continue
		}
		k.log.Warn("a certificate ends soon", append(about, "days-left", int(left/oneDay))...)
	}
}
