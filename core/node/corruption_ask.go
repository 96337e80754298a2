package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state"
)

// memberSum is what a member's state sums up to.
type memberSum struct {
	member core.MemberID
	sum    uint64
}

// comparison is the sums of the members as of one entry.
type comparison struct {
	index uint64
	// members is how many there are, sums those of this member, in front, and of the
	// others that could be asked.
	members int
	sums    []memberSum
}

// corrupt are the members whose sum is not that of the majority of all members; zero
// alone if they differ and none has one, as etcd's CompactHashCheck has it: to name one
// that may be right would have it replaced.
func (c comparison) corrupt() []core.MemberID {
	count := map[uint64]int{}
	for _, s := range c.sums {
		count[s.sum]++
	}
	if len(count) < 2 {
		return nil
	}
	var odd []core.MemberID
	for _, s := range c.sums {
		if count[s.sum] <= c.members/2 {
			odd = append(odd, s.member)
		}
	}
	if len(odd) == len(c.sums) {
		return []core.MemberID{0}
	}
	return odd
}

// differing are the members whose sum is not this one's.
func (c comparison) differing() []core.MemberID {
	var ids []core.MemberID
	for _, s := range c.sums {
		if s.sum != c.sums[0].sum {
			ids = append(ids, s.member)
		}
	}
	return ids
}

func (c comparison) String() string {
	parts := make([]string, len(c.sums))
	for i, s := range c.sums {
		parts[i] = fmt.Sprintf("member %s: %016x", hexID(s.member), s.sum)
	}
	return strings.Join(parts, ", ")
}

// hexID is how etcd and its tools write a member's id.
func hexID(id core.MemberID) string { return strconv.FormatUint(uint64(id), 16) }

const (
	// markPatience is how many election timeouts a member may be silent, or behind.
	markPatience = 5
	// answerAfter is when a question is answered with how far the member is, if it is not
	// done: it must not look dead.
	answerAfter = time.Second
	// askAgain is the rest after a question that failed.
	askAgain = 100 * time.Millisecond
)

// inquiry asks the other members for their sums of a mark.
type inquiry struct {
	ask       func(ctx context.Context, to core.MemberID, kind questionKind, body []byte) ([]byte, error)
	id, index uint64
	patience  time.Duration
	logger    *slog.Logger
}

// all asks all members but self at a time, and returns the sums of those that have one,
// by id.
func (q *inquiry) all(ctx context.Context, members []core.Member, self core.MemberID) []memberSum {
	var mu sync.Mutex
	var sums []memberSum
	var wait sync.WaitGroup
	for i := range members {
		id := members[i].ID
		if id == self {
			continue
		}
		wait.Go(func() {
			sum, err := q.one(ctx, id)
			if err != nil {
				q.logger.Warn("skipped a peer's hash", "peer", hexID(id), "entry", q.index, "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			sums = append(sums, memberSum{id, sum})
		})
	}
	wait.Wait()
	slices.SortFunc(sums, func(a, b memberSum) int {
		if a.member < b.member {
			return -1
		}
		return 1
	})
	return sums
}

// one asks a member until it has summed up. One that is at work may take as long as it
// takes, one that cannot be reached, or is behind, no longer than q.patience.
func (q *inquiry) one(ctx context.Context, to core.MemberID) (uint64, error) {
	patience := time.NewTimer(q.patience)
	defer patience.Stop()
	for {
		asked, cancel := context.WithTimeout(ctx, q.patience)
		b, err := q.ask(asked, to, askHash, hashQuestion{q.id, q.index}.encode())
		cancel()
		var a hashAnswer
		if err == nil {
			a, err = decodeHashAnswer(b)
		}
		switch {
		case err != nil:
		case a.progress == markSummed && a.format != state.SumFormat:
			return 0, fmt.Errorf("its version sums up otherwise: format %d, here %d", a.format, state.SumFormat)
		case a.progress == markSummed:
			return a.sum, nil
		case a.progress == markGone:
			return 0, errors.New("it has not kept its state of that entry")
		case a.progress == markAtWork:
			patience.Reset(q.patience)
			continue
		default:
			err = errors.New("it has not come to that entry in time")
		}
		select {
		case <-patience.C:
			return 0, err
		case <-ctx.Done():
			return 0, core.ContextError(ctx.Err())
		case <-time.After(askAgain):
		}
	}
}

// markProgress is how far a member is with a mark. The numbers are the wire's.
type markProgress uint64

const (
	markAhead  markProgress = iota // the member has not applied it
	markAtWork                     // it is being summed up
	markSummed
	markGone // it will never be summed up here
)

// hashQuestion is the body of askHash: 1 is the mark's number, 2 the index of the entry.
type hashQuestion struct{ id, index uint64 }

func (q hashQuestion) encode() []byte { return appendNumbers(nil, q.id, q.index) }

// hashAnswer is what is answered to it: 1 is how far the member is, 2 the sum, 3 what is
// summed up (state.SumFormat).
type hashAnswer struct {
	progress    markProgress
	sum, format uint64
}

func (a hashAnswer) encode() []byte {
	return appendNumbers(nil, uint64(a.progress), a.sum, a.format)
}

func decodeHashAnswer(b []byte) (hashAnswer, error) {
	n, err := numbers(b)
	return hashAnswer{markProgress(n[0]), n[1], n[2]}, err
}

// appendNumbers appends a message whose fields, from 1, are these numbers.
func appendNumbers(dst []byte, values ...uint64) []byte {
	for i, v := range values {
		dst = protowire.AppendTag(dst, protowire.Number(i+1), protowire.Fixed64Type)
		dst = protowire.AppendFixed64(dst, v)
	}
	return dst
}

// numbers reads such a message. Fields that it does not know are passed over.
func numbers(b []byte) (values [3]uint64, err error) {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return values, protowire.ParseError(n)
		}
		b = b[n:]
		if kind == protowire.Fixed64Type && int(num) <= len(values) {
			if values[num-1], n = protowire.ConsumeFixed64(b); n < 0 {
				return values, protowire.ParseError(n)
			}
		} else if n = protowire.ConsumeFieldValue(num, kind, b); n < 0 {
			return values, protowire.ParseError(n)
		}
		b = b[n:]
	}
	return values, nil
}

// answer answers askHash: when this member has summed up, or after a moment with how far
// it is.
func (c *corruption) answer(ctx context.Context, _ core.MemberID, body []byte) ([]byte, error) {
	n, err := numbers(body)
	if err != nil {
		return nil, core.Errorf(core.InvalidArgument, "question for a hash: %v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerAfter)
	defer cancel()
	return c.sumOf(ctx, hashQuestion{id: n[0], index: n[1]}).encode(), nil
}

// sumOf waits for the sum of a mark until ctx ends.
func (c *corruption) sumOf(ctx context.Context, q hashQuestion) hashAnswer {
	v, err := c.n.published.await(ctx, func(v *state.View) bool { return v.Index() >= q.index })
	if err != nil {
		return hashAnswer{progress: markAhead}
	}
	v.Close()
	m := c.find(q.id) // which was noted before that view was published
	if m == nil {
		return hashAnswer{progress: markGone}
	}
	select {
	case <-m.done:
	case <-ctx.Done():
		return hashAnswer{progress: markAtWork}
	}
	if m.err != nil {
		return hashAnswer{progress: markGone}
	}
	return hashAnswer{markSummed, m.sum, state.SumFormat}
}
