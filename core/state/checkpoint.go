package state

import "github.com/triglot/triglot/core"

func (m *Machine) checkpointLeases(*core.LeaseCheckpoint, uint64) error { return core.Unsupported }
