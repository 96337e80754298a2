package state

import "github.com/triglot/triglot/core"

// permit fails if who may not have cmd executed now.
func (m *Machine) permit(core.Principal, core.Command) error { return nil }

// manageAuth executes a command that concerns users and roles.
func (m *Machine) manageAuth(core.Command) (core.Outcome, error) { return nil, core.Unsupported }

// As is the view as one principal may see it. It takes over the hold on v.
func (v *View) As(core.Principal) core.View { return v }

// Readable implements core.View.
func (v *View) Readable(core.Interval) error { return nil }
