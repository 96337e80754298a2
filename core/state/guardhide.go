package state

import (
	"context"
	"strings"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/znode"
)

// hidden is the keys as they are to one who is not to be told of what he may not read
// (core.ZnodeACLHide): such keys are not there, and neither is what is below a znode that
// he may not read where a range would list it. It implements kv.Reader.
type hidden struct{ *guard }

// Get implements kv.Reader.
func (h hidden) Get(key []byte, at core.Rev) (*core.KV, error) {
	kv, err := h.guard.Get(key, at)
	if err != nil || kv == nil {
		return nil, err
	}
	sees := true
	if h.past(at) {
		sees, err = h.allows(kv.ACL, core.PermRead)
	}
	if err == nil && sees {
		sees, err = h.seesKey(key)
	}
	if err != nil || !sees {
		return nil, err
	}
	return kv, nil
}

// Count implements kv.Reader.
func (h hidden) Count(ctx context.Context, in core.Interval, at core.Rev) (int64, error) {
	var n int64
	err := h.Visit(in, at, true, func(*core.KV) bool {
		n++
		return n%checkEvery != 0 || ctx.Err() == nil
	})
	if err == nil && ctx.Err() != nil {
		err = core.ContextError(ctx.Err())
	}
	return n, err
}

// checkEvery is how many keys are passed between looks at the context.
const checkEvery = 1024

// Scan implements kv.Reader.
func (h hidden) Scan(in core.Interval, at core.Rev, keysOnly bool, fn func(*core.KV) bool) error {
	return h.sifted(h.guard.Scan, in, at, keysOnly, fn)
}

// Visit implements kv.Reader.
func (h hidden) Visit(in core.Interval, at core.Rev, keysOnly bool, fn func(*core.KV) bool) error {
	return h.sifted(h.guard.Visit, in, at, keysOnly, fn)
}

// reading is kv.Reader's Scan or Visit.
type reading func(in core.Interval, at core.Rev, keysOnly bool, fn func(*core.KV) bool) error

// sifted passes what may be seen to fn.
func (h hidden) sifted(read reading, in core.Interval, at core.Rev, keysOnly bool, fn func(*core.KV) bool) error {
	if in.Single() {
		kv, err := h.Get(in.Key, at)
		if err == nil && kv != nil {
			if keysOnly && kv.Value != nil {
				bare := *kv
				bare.Value = nil
				kv = &bare
			}
			fn(kv)
		}
		return err
	}
	s, err := h.sift(in, at)
	if err != nil {
		return err
	}
	err = read(in, at, keysOnly, func(kv *core.KV) bool {
		var ok bool
		if ok, s.err = s.shows(kv); s.err != nil {
			return false
		}
		return !ok || fn(kv)
	})
	if err == nil {
		err = s.err
	}
	return err
}

// sift lets through, of the keys of an interval in their order, what may be seen.
type sift struct {
	guard *guard
	past  bool
	walk  *protectedWalk
	// more says that walk stands on a znode that no key has come up to yet.
	more bool
	// covered are the paths of znodes that may not be read, and whose subtrees the keys
	// to come may lie in.
	covered []string
	err     error
}

func (h hidden) sift(in core.Interval, at core.Rev) (*sift, error) {
	s := &sift{guard: h.guard, past: h.past(at), walk: h.protected(in)}
	if s.past {
		above, err := h.above(in)
		if err != nil {
			return nil, err
		}
		for _, path := range above {
			kv, err := h.guard.Get(h.mount.Key(path), at)
			if err == nil && kv != nil {
				err = s.cover(path, kv.ACL)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	s.more = s.walk.next()
	return s, s.walk.err
}

// cover hides what is below a znode with a list that does not let it be read.
func (s *sift) cover(path string, acl core.ZnodeACL) error {
	ok, err := s.guard.allows(acl, core.PermRead)
	if err == nil && !ok {
		s.covered = append(s.covered, path)
	}
	return err
}

// shows reports whether the next key may be seen.
func (s *sift) shows(kv *core.KV) (bool, error) {
	path, ok := s.guard.mount.Inside(kv.Key)
	if !ok {
		return true, nil
	}
	for s.more && s.walk.path <= path {
		if err := s.cover(s.walk.path, s.walk.acl); err != nil {
			return false, err
		}
		if s.more = s.walk.next(); s.walk.err != nil {
			return false, s.walk.err
		}
	}
	if s.past {
		if err := s.cover(path, kv.ACL); err != nil {
			return false, err
		}
	}
	left := s.covered[:0]
	seen := true
	for _, top := range s.covered {
		below := znode.Below(top)
		inside := strings.HasPrefix(path, below)
		seen = seen && !inside && path != top
		if inside || path < below {
			left = append(left, top)
		}
	}
	s.covered = left
	return seen, nil
}
