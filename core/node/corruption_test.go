package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state"
)

// TestWhoIsCorrupt: the majority is that of all members, also of those that could not be
// asked (etcd: corruptionChecker.checkPeerHashes).
func TestWhoIsCorrupt(t *testing.T) {
	for _, c := range []struct {
		name    string
		members int
		sums    []uint64 // of members 1, 2, …
		want    []core.MemberID
	}{
		{"all the same", 3, []uint64{7, 7, 7}, nil},
		{"one alone", 3, []uint64{7}, nil},
		{"a follower", 3, []uint64{7, 8, 7}, []core.MemberID{2}},
		{"the leader", 3, []uint64{8, 7, 7}, []core.MemberID{1}},
		{"two of five, with different sums", 5, []uint64{7, 8, 7, 9, 7}, []core.MemberID{2, 4}},
		{"two of five, with the same sum", 5, []uint64{8, 7, 8, 7, 7}, []core.MemberID{1, 3}},
		{"one is away", 3, []uint64{7, 8}, []core.MemberID{0}},
		{"one of five is away", 5, []uint64{7, 7, 8, 7}, []core.MemberID{3}},
		{"two members", 2, []uint64{7, 8}, []core.MemberID{0}},
		{"half of four", 4, []uint64{7, 8, 7, 8}, []core.MemberID{0}},
		{"all differ", 3, []uint64{7, 8, 9}, []core.MemberID{0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := comparison{index: 5, members: c.members}
			for i, sum := range c.sums {
				found.sums = append(found.sums, memberSum{core.MemberID(i + 1), sum})
			}
			require.Equal(t, c.want, found.corrupt())
		})
	}
}

// TestInquiry asks peers of all kinds; the clock is the bubble's.
func TestInquiry(t *testing.T) {
	answer := func(p markProgress, sum uint64) []byte {
		return hashAnswer{progress: p, sum: sum, format: state.SumFormat}.encode()
	}
	const patience = 7 * time.Second
	for _, c := range []struct {
		name string
		// peer answers the question that is asked at a time.
		peer func(after time.Duration) ([]byte, error)
		want string // an error, or none
		took time.Duration
	}{
		{"at once", func(time.Duration) ([]byte, error) { return answer(markSummed, 9), nil }, "", 0},
		{"after an hour of work", func(after time.Duration) ([]byte, error) {
			if after < time.Hour {
				pass(answerAfter)
				return answer(markAtWork, 0), nil
			}
			return answer(markSummed, 9), nil
		}, "", time.Hour},
		{"behind for a moment", func(after time.Duration) ([]byte, error) {
			if after < 3*time.Second {
				return answer(markAhead, 0), nil
			}
			return answer(markSummed, 9), nil
		}, "", 3 * time.Second},
		{"behind", func(time.Duration) ([]byte, error) { return answer(markAhead, 0), nil }, "not come to that entry in time", patience},
		{"away", func(time.Duration) ([]byte, error) { return nil, core.Errorf(core.Timeout, "no way") }, "no way", patience},
		{"back in time", func(after time.Duration) ([]byte, error) {
			if after < 5*time.Second {
				return nil, errors.New("no way")
			}
			return answer(markSummed, 9), nil
		}, "", 5 * time.Second},
		{"has not kept it", func(time.Duration) ([]byte, error) { return answer(markGone, 0), nil }, "has not kept", 0},
		{"another version", func(time.Duration) ([]byte, error) {
			return hashAnswer{markSummed, 9, state.SumFormat + 1}.encode(), nil
		}, "sums up otherwise", 0},
		{"nonsense", func(time.Duration) ([]byte, error) { return []byte{0xff}, nil }, "unexpected EOF", patience},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				q := inquiry{id: 3, index: 4, patience: patience, logger: slog.New(slog.DiscardHandler)}
				q.ask = func(_ context.Context, to core.MemberID, kind questionKind, body []byte) ([]byte, error) {
					require.Equal(t, core.MemberID(2), to)
					require.Equal(t, askHash, kind)
					n, err := numbers(body)
					require.NoError(t, err)
					require.Equal(t, [3]uint64{3, 4, 0}, n)
					return c.peer(time.Since(began))
				}
				sums := q.all(context.Background(), []core.Member{{ID: 1}, {ID: 2}}, 1)
				sum, err := q.one(context.Background(), 2)
				if c.want != "" {
					require.ErrorContains(t, err, c.want)
					require.Empty(t, sums)
					return
				}
				require.NoError(t, err)
				require.Equal(t, uint64(9), sum)
				require.Equal(t, []memberSum{{2, 9}}, sums)
				require.InDelta(t, c.took, time.Since(began), float64(2*answerAfter))
			})
		})
	}
}

// mark has a member apply a HashMark and returns its view of it.
func mark(t *testing.T, n *Node, id uint64) *hashMark {
	_, err := n.do(testContext(t), &core.HashMark{ID: id})
	require.NoError(t, err)
	m := n.corruption.find(id)
	require.NotNil(t, m, "it is noted before it is answered")
	return m
}

// TestMarkIsOfItsEntry: whatever is applied together with a mark, and whenever it is
// summed up, the sum is that of the mark's own entry; and no view stays behind.
func TestMarkIsOfItsEntry(t *testing.T) {
	cfg := testConfig(t)
	n := startNode(t, cfg)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			put(t, n, "k", fmt.Sprint(i))
		}
	}()
	for id := range uint64(20) {
		m := mark(t, n, id+1)
		<-m.done
		require.NoError(t, m.err)
		ask := func() hashAnswer {
			b, err := n.corruption.answer(testContext(t), 2, hashQuestion{m.id, m.index}.encode())
			require.NoError(t, err)
			a, err := decodeHashAnswer(b)
			require.NoError(t, err)
			return a
		}
		require.Equal(t, hashAnswer{markSummed, m.sum, state.SumFormat}, ask())
	}
	stop()
	<-done
	require.Len(t, n.corruption.marks, keptMarks)
	a := n.corruption.sumOf(testContext(t), hashQuestion{1, 5})
	require.Equal(t, markGone, a.progress, "it is long forgotten")
	late, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	a = n.corruption.sumOf(late, hashQuestion{99, n.Status().Applied + 1000})
	require.Equal(t, markAhead, a.progress)
	_, err := n.corruption.answer(testContext(t), 2, []byte{0xff})
	require.Equal(t, core.InvalidArgument, core.KindOf(err))
	stopNode(t, n)
}

// TestMarksAreGivenUp: a member that is slow to sum up keeps few views.
func TestMarksAreGivenUp(t *testing.T) {
	n := startNode(t, testConfig(t))
	put(t, n, "a", "1")
	var c corruption // of which nobody sums up
	c.init(n)
	v := n.published.hold()
	for id := range uint64(3 * keptMarks) {
		c.note(v, []uint64{id})
	}
	held := n.disk.openViews()
	require.Equal(t, int64(1), held, "all are of the same view")
	v.Close()
	require.Len(t, c.marks, keptMarks)
	waiting := 0
	for _, m := range c.marks {
		if m.view != nil {
			waiting++
			continue
		}
		<-m.done
		require.ErrorIs(t, m.err, errMarkGivenUp)
	}
	require.Equal(t, maxWaiting, waiting)
	c.close()
	require.Equal(t, core.Stopped, c.marks[keptMarks-1].err)
	stopNode(t, n) // which waits for views
}

// FuzzNumbers: what a peer sends is read, or refused.
func FuzzNumbers(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(hashQuestion{1, 1 << 60}.encode())
	f.Add(hashAnswer{markSummed, 1, 2}.encode())
	f.Add(protowire.AppendVarint(protowire.AppendTag(nil, 9, protowire.VarintType), 7))
	f.Add([]byte{0x09, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := numbers(b)
		if err != nil {
			return
		}
		again, err := numbers(appendNumbers(nil, n[:]...))
		require.NoError(t, err)
		require.Equal(t, n, again)
	})
}

// TestFoundedAlike: members that were founded at different times with the same file, or
// with nothing, have the same state: their first comparison must find no difference.
func TestFoundedAlike(t *testing.T) {
	for name, config := range map[string]func(testing.TB) Config{"with etcd's file": restoredConfig, "with nothing": testConfig} {
		t.Run(name, func(t *testing.T) {
			sum := func() uint64 {
				d, err := openDisk(ptr(config(t).withDefaults()), newMetrics(nil), func(err error) { require.NoError(t, err) })
				require.NoError(t, err)
				v, _, err := d.engine().machine.Commit()
				require.NoError(t, err)
				hash, err := v.Hash(func() error { return nil })
				require.NoError(t, err)
				v.Close()
				require.NoError(t, d.close())
				return hash
			}
			first := sum()
			<-time.After(5 * time.Millisecond) // a clock that was asked would say something else
			require.Equal(t, first, sum())
		})
	}
}
