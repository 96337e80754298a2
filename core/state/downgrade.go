package state

import "github.com/triglot/triglot/core"

func (m *Machine) setDowngrade(string) error { return core.Unsupported }
