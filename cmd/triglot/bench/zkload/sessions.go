package zkload

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/triglot/triglot/cmd/triglot/bench/drive"
)

// comer connects, opens a session, closes it, and goes.
func (l *Load) comer(i int, _ *rand.Rand) drive.Call {
	endpoint := l.endpoint(i)
	return func(ctx context.Context, _ time.Time) error {
		c, err := dial(ctx, endpoint, nil)
		if err != nil {
			return err
		}
		return c.close()
	}
}
