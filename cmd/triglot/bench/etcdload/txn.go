package etcdload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/triglot/triglot/cmd/triglot/bench/drive"
)

// revisionsPage is how many keys are read at once to learn their revisions.
const revisionsPage = 10_000

// learnRevisions reads the revision of every key, as a client that keeps a cache knows it.
func (l *Load) learnRevisions(ctx context.Context) error {
	l.revs = make([]int64, l.Keys.Count())
	page := rangeRequest{key: l.Keys.AppendKey(nil, 0), end: l.Keys.End(), limit: revisionsPage, keysOnly: true}
	var bad error
	ans := rangeAnswer{more: true, each: func(r row) {
		n, err := strconv.Atoi(strings.TrimPrefix(string(r.key), l.Keys.Prefix()))
		if err != nil {
			bad = fmt.Errorf("key %q is not of this load", r.key)
		} else if n < len(l.revs) {
			l.revs[n] = r.modRev
		}
		page.key = append(append(page.key[:0], r.key...), 0)
	}}
	for ans.more {
		ans.reset()
		if err := l.conns[0].Invoke(ctx, methodRange, &message{page.append(nil)}, &ans); err != nil {
			return err
		}
		if bad != nil {
			return bad
		}
	}
	return nil
}

// updater updates keys that are its own, so that no update is in vain: the i-th client has
// the keys i, i+clients and so on, and owns their revisions.
func (l *Load) updater(i int, random *rand.Rand) drive.Call {
	conn, req, ans := l.conn(i), &message{}, &txnAnswer{}
	own := (l.Keys.Count() - i + l.Clients - 1) / l.Clients
	u := update{}
	var found int64
	ans.found.each = func(r row) { found = r.modRev }
	return func(ctx context.Context, _ time.Time) error {
		n := i + random.IntN(own)*l.Clients
		u.key, u.value = l.Keys.AppendKey(u.key[:0], n), l.Keys.Value(random)
		for {
			u.rev, found = l.revs[n], 0
			req.b = u.append(req.b[:0])
			if err := conn.Invoke(ctx, methodTxn, req, ans); err != nil {
				return err
			}
			if ans.succeeded {
				l.revs[n] = ans.rev
				return nil
			}
			if l.revs[n] = found; found == 0 {
				return fmt.Errorf("an update found no key")
			}
		}
	}
}
