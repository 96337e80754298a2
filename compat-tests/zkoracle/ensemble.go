package zkoracle

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/triglot/triglot/compat-tests/zkserver"
)

// members is the size of what triglot stands for.
var members = flag.Int("members", 1, "members of a Triglot; of several, the clients are those of a follower, and restarts are of one member")

// ensemble is a host of several members. Its clients are those of a follower; Kill ends
// the leader, Terminate the follower.
type ensemble struct {
	members []*zkserver.Process
	places  []zkserver.Place
	at      *zkserver.Process // what follower has named last
	ended   *zkserver.Process
}

// startEnsemble starts so many members of the same options.
func startEnsemble(ctx context.Context, o zkserver.Options, size int) (*ensemble, error) {
	members, places, err := zkserver.StartEnsemble(ctx, o, size)
	return &ensemble{members: members, places: places}, err
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

// removed is in the last line of a Triglot that has ended because reconfig left it out. A
// ZooKeeper goes on, without a vote.
const removed = "this member was removed from the cluster"

func (e *ensemble) Stop() error {
	var errs []error
	for _, p := range e.members {
		if p == nil {
			continue
		}
		if strings.Contains(p.Log(), removed) {
			errs = append(errs, p.Kill())
		}
		errs = append(errs, p.Stop())
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
