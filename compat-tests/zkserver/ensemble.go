package zkserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/triglot/triglot/compat-tests/server"
)

// Place is where a server of an ensemble is: its number, and its ports on the loopback
// interface.
type Place struct{ ID, Peer, Election, Client int }

// FindPlace finds free ports for a server.
func FindPlace(id int) (p Place, err error) {
	p.ID = id
	for _, port := range []*int{&p.Peer, &p.Election, &p.Client} {
		if *port, err = server.FreePort(); err != nil {
			return p, err
		}
	}
	return p, nil
}

// Text is what stands behind server.N= in a zoo.cfg, for a role.
func (p Place) Text(role string) string {
	return fmt.Sprintf("127.0.0.1:%d:%d:%s;127.0.0.1:%d", p.Peer, p.Election, role, p.Client)
}

// Line is the line of a zoo.cfg, or of a reconfig.
func (p Place) Line(role string) string { return fmt.Sprintf("server.%d=%s", p.ID, p.Text(role)) }

// StartEnsemble starts so many servers of the same options, which know each other, and
// returns once all serve. The caller stops each.
func StartEnsemble(ctx context.Context, o Options, size int) ([]*Process, []Place, error) {
	places := make([]Place, size)
	o.Config = append(slices.Clone(o.Config), "initLimit=10", "syncLimit=5")
	for i := range places {
		var err error
		if places[i], err = FindPlace(i + 1); err != nil {
			return nil, nil, err
		}
		o.Config = append(o.Config, places[i].Line("participant"))
	}
	servers, errs := make([]*Process, size), make([]error, size)
	var wg sync.WaitGroup
	for i := range servers {
		o := o
		o.ID, o.Port = i+1, places[i].Client
		wg.Go(func() { servers[i], errs[i] = Start(ctx, o) })
	}
	wg.Wait()
	err := errors.Join(errs...)
	if err == nil {
		return servers, places, nil
	}
	for _, p := range servers {
		if p != nil {
			err = errors.Join(err, p.Stop())
		}
	}
	return nil, nil, err
}
