package etcdload

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"

	"github.com/triglot/triglot/cmd/triglot/bench/drive"
)

const (
	// leaseTTL is long enough for no lease to run out while it is not its client's turn.
	leaseTTL = 600
	// revokeTimeout bounds how long the end of a load may take.
	revokeTimeout = 10 * time.Second
)

// grantLeases gives each client a lease, which is revoked at the end.
func (l *Load) grantLeases(ctx context.Context) error {
	l.leases = make([]int64, l.Clients)
	l.closing = append(l.closing, func() { //nolint:contextcheck // it runs when ctx has ended
		ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), revokeTimeout)
		defer cancel()
		_ = drive.Each(ctx, len(l.leases), preparers, func(ctx context.Context, _, i int) error { // they run out anyway
			if l.leases[i] == 0 {
				return nil
			}
			return l.conn(i).Invoke(ctx, methodRevoke, &message{appendLease(nil, l.leases[i])}, &revAnswer{})
		})
	})
	return drive.Each(ctx, l.Clients, preparers, func(ctx context.Context, _, i int) error {
		var ans numbersAnswer
		err := l.conn(i).Invoke(ctx, methodGrant, &message{appendGrant(nil, leaseTTL)}, &ans)
		l.leases[i] = ans.second
		return err
	})
}

// renewer keeps the client's lease alive, on a stream of its own.
func (l *Load) renewer(i int, _ *rand.Rand) drive.Call {
	var s grpc.ClientStream
	req, ans := &message{}, &numbersAnswer{}
	return func(_ context.Context, _ time.Time) (err error) {
		if s == nil {
			if s, err = l.conn(i).NewStream(l.ctx, bidirectional, methodKeepAlive); err != nil { //nolint:contextcheck // the stream outlives the call
				return err
			}
		}
		req.b = appendLease(req.b[:0], l.leases[i])
		if err = s.SendMsg(req); err == nil {
			err = s.RecvMsg(ans)
		}
		if err != nil {
			s = nil
		}
		return expect(err, "seconds for a lease", ans.third, leaseTTL)
	}
}
