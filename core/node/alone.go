package node

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/consensus"
	"github.com/triglot/triglot/core/peer"
	"github.com/triglot/triglot/core/state"
)

// standAlone makes this member the only one of its cluster, for good, with what it has
// (--force-new-cluster).
//
// The whole log counts, where etcd drops what is behind the commit index that it has
// written down: that index is written with the next entries only, so what is behind it
// may have been acknowledged, and nobody is left to say otherwise. All of it is applied,
// the others are removed in the state, and the log begins anew behind it. A crash in
// between leaves what was there, or a state that is ahead of the log, for the next start.
func (d *disk) standAlone(logger *slog.Logger) error {
	machine := d.engine().machine
	applied, _ := machine.Applied()
	last, err := d.log.LastIndex()
	if err != nil {
		return err
	}
	err = consensus.Replay(d.log, applied+1, last, func(batch []consensus.Committed) error {
		for i := range batch {
			if _, err := machine.Apply(stateEntry(&batch[i]), nil); err != nil {
				return err
			}
		}
		return d.commitAlone()
	})
	if err != nil {
		return fmt.Errorf("apply what the log holds: %w", err)
	}
	removed, err := machine.StandAlone(d.id.member)
	if errors.Is(err, core.MemberNotFound) {
		return ErrRemoved
	}
	if err != nil {
		return err
	}
	index, term := machine.Applied()
	if len(removed) == 0 {
		logger.Info("--force-new-cluster: this member is the only one already")
		return d.log.RaiseCommit(index)
	}
	if err := d.commitAlone(); err != nil {
		return err
	}
	if err := d.engine().db.Flush(); err != nil {
		return err
	}
	for _, id := range removed {
		logger.Warn("--force-new-cluster: a member was removed, for good", "member", hexID(id))
	}
	return d.log.Reset(index, term)
}

// commitAlone makes what was applied the state, which nobody follows yet.
func (d *disk) commitAlone() error {
	view, _, err := d.engine().machine.Commit()
	if err != nil {
		return err
	}
	view.Close()
	return nil
}

// stateEntry is an entry as the state machine takes it, of no caller here.
func stateEntry(c *consensus.Committed) state.Entry {
	return state.Entry{Index: c.Index, Term: c.Term, Frame: c.Entry, Membership: c.Change.Kind != consensus.NoChange}
}

// checkDeserted refuses to go on alone while the others have a leader: they would be told
// that they were removed, and end, one by one.
func (d *disk) checkDeserted(cfg *Config) error {
	head, err := state.HeadOf(d.engine().db)
	if err != nil || cfg.Peers.Dial == nil {
		return err
	}
	var others []Peer
	for _, m := range head.Members {
		if m.ID != d.id.member {
			others = append(others, Peer{Name: m.Name, URLs: m.PeerURLs})
		}
	}
	for _, a := range ask(cfg, others, peer.Newcomer{}, cfg.Timing.Election/2) {
		if a.err == nil && a.Cluster == d.id.cluster && a.Self != d.id.member && a.Leader != 0 && a.Leader != d.id.member {
			return fmt.Errorf("--force-new-cluster: the cluster lives, as member %x (%q) at %s says, which follows %x: "+
				"start this one without the flag, or stop the others first", uint64(a.Self), a.Name, a.url, uint64(a.Leader))
		}
	}
	return nil
}
