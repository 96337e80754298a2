package mvcc

import (
	"context"

	"github.com/triglot/triglot/core"
)

// countSteps are how many keys of an interval are counted before as many of those beside
// it are: few, and then more, so that the smaller side is never passed by far. The last
// look costs about a millisecond.
var countSteps = [...]int64{64, 1024, 8192}

// Count counts the keys of iv that exist as of revision at. It fails with the
// kind of ctx's error once that has ended.
//
// At the revision reached it is known how many there are in all. Of an interval that
// nearly all of them lie in, as a prefix that a client has for itself, those beside it
// are counted.
func (r *Reader) Count(ctx context.Context, iv core.Interval, at core.Rev) (int64, error) {
	if iv.Single() {
		kv, err := r.Get(iv.Key, at)
		if kv == nil {
			return 0, err
		}
		return 1, err
	}
	if at > 0 && at != r.rev || r.total < 0 {
		n, _, err := r.count(ctx, iv, at, 0)
		return n, err
	}
	if beginsAll(iv) && iv.Unbounded() {
		return r.total, nil
	}
	var n int64
	in := iv
	for _, step := range countSteps {
		some, rest, err := r.count(ctx, in, at, step)
		if n += some; err != nil || rest == nil {
			return n, err
		}
		in.Key = rest
		beside, ok, err := r.countBeside(ctx, iv, step)
		switch {
		case err != nil:
			return 0, err
		case ok:
			return r.total - beside, nil
		}
	}
	some, _, err := r.count(ctx, in, at, 0)
	return n + some, err
}

// countBeside counts the keys outside of an interval at the revision reached, unless
// there are limit of them, or nearly.
func (r *Reader) countBeside(ctx context.Context, iv core.Interval, limit int64) (n int64, ok bool, err error) {
	var rest []byte
	if !beginsAll(iv) {
		n, rest, err = r.count(ctx, core.Interval{Key: core.FromKey, End: iv.Key}, 0, limit)
	}
	if err != nil || rest != nil || iv.Unbounded() {
		return n, rest == nil, err
	}
	above, rest, err := r.count(ctx, core.Interval{Key: iv.End, End: core.FromKey}, 0, limit)
	return n + above, rest == nil, err
}

// beginsAll reports whether no key is before iv. Nothing else can end where it begins:
// as an end, "\0" is none.
func beginsAll(iv core.Interval) bool { return string(iv.Key) <= string(core.FromKey) }

// count counts the keys of an interval, until there are limit of them if that is not
// zero: then rest is the key from where on others may be.
func (r *Reader) count(ctx context.Context, iv core.Interval, at core.Rev, limit int64) (n int64, rest []byte, err error) {
	err = r.walk(iv, at, bareRows, func(c *cursor) bool {
		if n++; n == limit {
			rest = append(append([]byte(nil), c.key...), 0)
			return false
		}
		return n%checkEvery != 0 || ctx.Err() == nil
	})
	return n, rest, orEnded(ctx, err)
}

// orEnded is err, or else why ctx has ended, if it has.
func orEnded(ctx context.Context, err error) error {
	if err == nil && ctx.Err() != nil {
		return core.ContextError(ctx.Err())
	}
	return err
}
