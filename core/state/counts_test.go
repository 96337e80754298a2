package state

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
)

// TestPagesCountExactly reads lists page by page, several at a time, at several
// revisions, while the store changes: each page's count is that of a range
// without a limit.
func TestPagesCountExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRigOn(t)
		defer r.close()
		write := func() {
			for range rapid.IntRange(1, 20).Draw(t, "writes") {
				key := fmt.Appendf(nil, "k%02d", rapid.IntRange(0, 40).Draw(t, "key"))
				if rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
					r.apply(&core.DeleteRange{Interval: core.Interval{Key: key}})
				} else {
					r.apply(&core.Put{Key: key})
				}
			}
			r.commit()
		}
		rewrite := func() { // no key is new, none goes
			res, err := r.view.Range(context.Background(), &core.Range{Interval: core.Interval{Key: []byte("k"), End: core.FromKey}, Limit: 5})
			require.NoError(t, err)
			for _, kv := range res.KVs {
				r.apply(&core.Put{Key: kv.Key, Value: []byte("again")})
			}
			r.commit()
		}
		write()
		var lists []*core.Range
		for range rapid.IntRange(1, 3).Draw(t, "lists") {
			lists = append(lists, &core.Range{
				Interval: core.Interval{Key: []byte("k"), End: rapid.SampledFrom([][]byte{core.FromKey, []byte("k30"), []byte("l")}).Draw(t, "end")},
				Limit:    rapid.Int64Range(1, 5).Draw(t, "limit"),
				Rev:      core.Rev(rapid.IntRange(0, int(r.view.Rev())).Draw(t, "rev")),
			})
		}
		for range 30 {
			switch rapid.IntRange(0, 5).Draw(t, "write") {
			case 0:
				write()
			case 1, 2:
				rewrite()
			}
			q := rapid.SampledFrom(lists).Draw(t, "list")
			if q.Rev == 0 && rapid.Bool().Draw(t, "from elsewhere") {
				q.Key = fmt.Appendf(nil, "k%02d", rapid.IntRange(0, 40).Draw(t, "begin"))
			}
			var last []byte
			if q.Each = nil; rapid.Bool().Draw(t, "one by one") {
				q.Each = func(kv *core.KV) error {
					last = append([]byte(nil), kv.Key...)
					return nil
				}
			}
			res, err := r.view.Range(context.Background(), q)
			require.NoError(t, err)
			if n := len(res.KVs); n > 0 {
				last = res.KVs[n-1].Key
			}
			whole := *q
			whole.Limit, whole.Each = 0, nil
			all, err := r.view.Range(context.Background(), &whole)
			require.NoError(t, err)
			require.EqualValues(t, len(all.KVs), res.Count)
			if q.Rev == 0 {
				q.Rev = r.view.Rev() // as a client does for the next page
			}
			if res.More {
				q.Key = append(append([]byte(nil), last...), 0)
			}
		}
	})
}

// TestCountsKnowTheTotal: a count of the newest revision, which may be taken from how many
// keys there are in all, is that of a range, whatever the interval.
func TestCountsKnowTheTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRigOn(t)
		defer r.close()
		for range rapid.IntRange(1, 60).Draw(t, "writes") {
			key := fmt.Appendf(nil, "k%02d", rapid.IntRange(0, 40).Draw(t, "key"))
			if rapid.IntRange(0, 4).Draw(t, "delete") == 0 {
				r.apply(&core.DeleteRange{Interval: core.Interval{Key: key}})
			} else {
				r.apply(&core.Put{Key: key})
			}
		}
		r.commit()
		bound := func(label string) []byte {
			return []byte(rapid.SampledFrom([]string{"\x00", "\x00\x00", "a", "k", "k03", "k03\x00", "k20", "k38", "l"}).Draw(t, label))
		}
		for range 20 {
			q := core.Range{Interval: core.Interval{Key: bound("key"), End: bound("end")}}
			q.Rev = core.Rev(rapid.IntRange(0, int(r.view.Rev())).Draw(t, "rev"))
			all, err := r.view.Range(context.Background(), &q)
			require.NoError(t, err)
			q.CountOnly = true
			counted, err := r.view.Range(context.Background(), &q)
			require.NoError(t, err)
			require.EqualValues(t, len(all.KVs), counted.Count, "%q at %d", q.Interval, q.Rev)
		}
	})
}
