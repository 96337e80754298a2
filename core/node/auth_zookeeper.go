package node

import (
	"bytes"
	"container/list"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"

	"github.com/triglot/triglot/core"
	accounts "github.com/triglot/triglot/core/state/auth"
)

// zookeeper is the etcd user as which a ZooKeeper client makes requests, while
// authentication is on: the first that it proves to be. What the user may do is found
// out when a request is judged, so no change of users and roles makes the answer void.
func (a *auth) zookeeper(ctx context.Context, s *accounts.State, c *core.Credentials) (core.Principal, error) {
	as := func(user string) (core.Principal, error) {
		return core.Principal{User: user, AuthRev: core.AnyAuthRev}, nil
	}
	for _, d := range c.Digests {
		ok, err := a.digest(ctx, s, d)
		switch {
		case err != nil:
			return core.Principal{}, err
		case ok:
			return as(d.User)
		}
	}
	for _, name := range [...]string{c.CertificateSubject, c.SASLUser, core.ZooKeeperUser} {
		if _, ok := s.User(name); ok && name != "" {
			return as(name)
		}
	}
	return as("") // nobody, who may do nothing
}

// digest reports whether a user has a password.
func (a *auth) digest(ctx context.Context, s *accounts.State, d core.Digest) (bool, error) {
	u, ok := s.User(d.User)
	if !ok || u.NoPassword {
		return false, nil
	}
	matched := a.proven.hash(d)
	if len(matched) > 0 && bytes.Equal(matched, u.Hash) {
		return true, nil
	}
	if refuted := a.refuted.hash(d); len(refuted) > 0 && bytes.Equal(refuted, u.Hash) {
		return false, nil
	}
	size := int64(len(d.User) + len(d.Password) + loginOverhead)
	defer a.waiting.Add(-size)
	if a.waiting.Add(size) > maxWaitingLogins {
		return false, core.TooManyRequests
	}
	switch err := a.passwords.check(ctx, u.Hash, d.Password); core.KindOf(err) {
	case core.AuthFailed:
		a.refuted.add(d, u.Hash)
		return false, nil
	default:
		if err == nil {
			a.proven.add(d, u.Hash)
		}
		return err == nil, err
	}
}

// maxProven bounds what proven remembers.
const maxProven = 4096

// proven remembers which digests were found to match which hash of a user's password:
// ZooKeeper's clients show theirs on each connection, all at once when a member comes
// back, and each look takes tens of milliseconds. Another one remembers those that were
// found not to match it: a connection shows all that it has whenever it has one more. It
// holds no password, but a hash of it under a key that ends with the process. Safe for
// concurrent use.
type proven struct {
	key [32]byte

	// mu guards what follows.
	mu     sync.Mutex
	hashes map[[sha256.Size]byte]*list.Element
	recent list.List // of proof, the latest in front
}

type proof struct {
	digest [sha256.Size]byte
	hash   []byte
}

func newProven() *proven {
	p := &proven{hashes: map[[sha256.Size]byte]*list.Element{}}
	if _, err := rand.Read(p.key[:]); err != nil {
		panic("node: no random numbers: " + err.Error()) // which Go promises cannot be
	}
	return p
}

func (p *proven) digest(d core.Digest) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, p.key[:])
	mac.Write([]byte(d.User))
	mac.Write([]byte{0}) // no name of a ZooKeeper client has it
	mac.Write([]byte(d.Password))
	mac.Sum(sum[:0])
	return sum
}

// hash is what a digest was found to match, nil if that is not known.
func (p *proven) hash(d core.Digest) []byte {
	sum := p.digest(d)
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.hashes[sum]
	if !ok {
		return nil
	}
	p.recent.MoveToFront(e)
	return e.Value.(proof).hash
}

func (p *proven) add(d core.Digest, hash []byte) {
	sum := p.digest(d)
	p.mu.Lock()
	defer p.mu.Unlock()
	if e, ok := p.hashes[sum]; ok {
		p.recent.Remove(e)
	}
	p.hashes[sum] = p.recent.PushFront(proof{sum, hash})
	if len(p.hashes) > maxProven {
		last := p.recent.Back()
		delete(p.hashes, p.recent.Remove(last).(proof).digest)
	}
}
