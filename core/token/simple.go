package token

import (
	"crypto/rand"
	"crypto/sha256"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/triglot/triglot/core"
)

// letters are what the secret part of a simple token is made of, secretLen of them
// (etcd auth/simple_token.go).
const (
	letters   = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	secretLen = 16
)

// Secret is the part of a simple token that nobody can guess.
type Secret string

// NewSecret draws one.
func NewSecret() Secret {
	const fair = 256 - 256%len(letters) // a byte below it is as likely any letter
	var out [secretLen]byte
	var b [1]byte
	for i := 0; i < secretLen; {
		rand.Read(b[:]) // never fails
		if int(b[0]) < fair {
			out[i] = letters[int(b[0])%len(letters)]
			i++
		}
	}
	return Secret(out[:])
}

// Hash is what may be replicated of the secret.
func (s Secret) Hash() core.SecretHash { return sha256.Sum256([]byte(s)) }

// Token is the token that was granted at an applied index.
func (s Secret) Token(index uint64) string { return string(s) + "." + strconv.FormatUint(index, 10) }

// parse takes a simple token apart; ok is false if it can be none.
func parse(token string) (s Secret, index uint64, ok bool) {
	secret, number, ok := strings.Cut(token, ".")
	if !ok || len(secret) != secretLen {
		return "", 0, false
	}
	index, err := strconv.ParseUint(number, 10, 64)
	s = Secret(secret)
	return s, index, err == nil && s.Token(index) == token // 7 is not 07
}

// DefaultTTL is how long a token is good for (etcd's --auth-token-ttl, and a JWT's).
const DefaultTTL = 5 * time.Minute

// Table is the simple tokens that are good on this member. It is safe for concurrent
// use.
type Table struct {
	ttl time.Duration
	now func() time.Time

	mu     sync.Mutex // owns what follows
	tokens map[core.SecretHash]grant
	// sweep is when those that ran out are looked for.
	sweep time.Time
}

type grant struct {
	user  string
	index uint64
	ends  time.Time
}

// NewTable makes an empty table. A token is good until it has not been used for ttl;
// zero or less is DefaultTTL.
func NewTable(ttl time.Duration, now func() time.Time) *Table {
	if ttl <= 0 {
		ttl = DefaultTTL
	}
	return &Table{ttl: ttl, now: now, tokens: map[core.SecretHash]grant{}}
}

// Grant makes a token good. Those that ran out are forgotten on the occasion, at most
// once in a ttl: the table holds no more than what was granted in the last two.
func (t *Table) Grant(user string, secret core.SecretHash, index uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if now.After(t.sweep) {
		t.sweep = now.Add(t.ttl)
		for hash, g := range t.tokens {
			if now.After(g.ends) {
				delete(t.tokens, hash)
			}
		}
	}
	t.tokens[secret] = grant{user: user, index: index, ends: now.Add(t.ttl)}
}

// Revoke ends a user's tokens.
func (t *Table) Revoke(user string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for hash, g := range t.tokens {
		if g.user == user {
			delete(t.tokens, hash)
		}
	}
}

// Clear ends all tokens.
func (t *Table) Clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.tokens)
}

// Lookup returns whose token it is, and lets it live on. For one that is not good,
// ok is false, and index is what a member must have applied to know better: zero if
// it can be no token.
func (t *Table) Lookup(token string) (user string, index uint64, ok bool) {
	secret, index, ok := parse(token)
	if !ok {
		return "", 0, false
	}
	hash := secret.Hash()
	t.mu.Lock()
	defer t.mu.Unlock()
	g, ok := t.tokens[hash]
	now := t.now()
	if !ok || g.index != index || now.After(g.ends) {
		return "", index, false
	}
	g.ends = now.Add(t.ttl)
	t.tokens[hash] = g
	return g.user, index, true
}
