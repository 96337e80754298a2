package zkoracle

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/triglot/triglot/compat-tests/server"
	"github.com/triglot/triglot/compat-tests/zkserver"
)

// members is the size of what triglot stands for.
var members = flag.Int("members", 1, "members of a Triglot; of several, the clients are those of a follower, and restarts are of one member")

// ensemble is a host of several members. Its clients are those of a follower; Kill ends
// the leader, Terminate the follower.
type ensemble struct {
	members []*zkserver.Process
	at      *zkserver.Process // what follower has named last
	ended   *zkserver.Process
}

// startEnsemble starts so many members of the same options.
func startEnsemble(ctx context.Context, o zkserver.Options, size int) (*ensemble, error) {
	o.Config = append(slices.Clone(o.Config), "initLimit=10", "syncLimit=5")
	for i := range size {
		peers, err := server.FreePort()
		if err != nil {
			return nil, err
		}
		election, err := server.FreePort()
		if err != nil {
			return nil, err
		}
		o.Config = append(o.Config, fmt.Sprintf("server.%d=127.0.0.1:%d:%d", i+1, peers, election))
	}
	e := &ensemble{members: make([]*zkserver.Process, size)}
	errs := make([]error, size)
	var wg sync.WaitGroup
	for i := range size {
		o := o
		o.ID = i + 1
		wg.Go(func() { e.members[i], errs[i] = zkserver.Start(ctx, o) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, e.Stop())
	}
	return e, nil
}

// mode asks the members for the one of that mode; nil if there is none.
func (e *ensemble) mode(mode string) *zkserver.Process {
	for _, p := range e.members {
		if p.PID() == 0 {
			continue
		}
		if answer, err := p.Ask("srvr"); err == nil && strings.Contains(answer, "Mode: "+mode+"\n") {
			return p
		}
	}
	return nil
}

// follower is the address of one that follows, the same one as long as it does.
func (e *ensemble) follower() string {
	if e.at != nil && e.at != e.mode("leader") {
		return e.at.Endpoint()
	}
	if e.at = e.mode("follower"); e.at == nil {
		e.at = e.members[0] // whose answers tell what is wrong
	}
	return e.at.Endpoint()
}

func (e *ensemble) Kill() error {
	if e.ended = e.mode("leader"); e.ended == nil {
		return errors.New("nobody leads")
	}
	return e.ended.Kill()
}

func (e *ensemble) Terminate() error {
	e.ended = e.at
	return e.ended.Terminate()
}

func (e *ensemble) Restart(ctx context.Context) error { return e.ended.Restart(ctx) }

func (e *ensemble) Stop() error {
	var errs []error
	for _, p := range e.members {
		if p != nil {
			errs = append(errs, p.Stop())
		}
	}
	return errors.Join(errs...)
}

func (e *ensemble) LogTail() string {
	var b strings.Builder
	for i, p := range e.members {
		fmt.Fprintf(&b, "member %d:\n%s\n", i+1, p.LogTail())
	}
	return b.String()
}
