package httpfront

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/triglot/triglot/core"
)

// fakeMember is a store and a cluster whose state a test sets.
type fakeMember struct {
	status   core.Status
	observer bool
	// localErr and quorumErr fail the views of either consistency, rangeErr the
	// read on a view.
	localErr, quorumErr, rangeErr error
	openViews                     atomic.Int64
}

func newFakeMember() *fakeMember {
	return &fakeMember{status: core.Status{Member: 1, Leader: 1}}
}

func (m *fakeMember) Do(context.Context, core.Principal, core.Command) (core.Result, error) {
	return core.Result{}, errors.New("the HTTP front end never writes")
}

func (m *fakeMember) Lane() core.Lane {
	panic("the HTTP front end never writes")
}

func (m *fakeMember) Watch(context.Context) (core.Feed, error) {
	return nil, errors.New("the HTTP front end never watches")
}

func (m *fakeMember) View(ctx context.Context, who core.Principal, c core.Consistency) (core.View, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		return nil, errors.New("a health check without a deadline")
	}
	err := m.localErr
	if c.Linearizable {
		err = m.quorumErr
	}
	if err != nil {
		return nil, err
	}
	m.openViews.Add(1)
	return &fakeView{member: m}, nil
}

func (m *fakeMember) Members(context.Context, bool) ([]core.Member, error) { return nil, nil }
func (m *fakeMember) Status() core.Status                                  { return m.status }
func (m *fakeMember) Self() core.Self {
	return core.Self{Learner: m.status.Learner, Observer: m.observer}
}

type fakeView struct {
	core.View
	member *fakeMember
}

func (v *fakeView) Rev() core.Rev        { return 1 }
func (v *fakeView) CompactRev() core.Rev { return 0 }
func (v *fakeView) Close()               { v.member.openViews.Add(-1) }

func (v *fakeView) Range(context.Context, *core.Range) (core.RangeResult, error) {
	return core.RangeResult{}, v.member.rangeErr
}

func (v *fakeView) Txn(context.Context, *core.Txn) (core.TxnOutcome, error) {
	return core.TxnOutcome{}, errors.New("a health check needs no transaction")
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
