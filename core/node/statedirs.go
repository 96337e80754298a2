package node

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// The directories of states, in the data directory:
//
//	state/            the state with which the member was founded
//	state-N/          one that was installed later; the one with the highest N is the state
//	incoming/         one that is being received: what is there of it outlives a restart
//	received-N/       one that was received whole, and waits to be installed
//	outgoing/         checkpoints that are sent to other members; removed at the start
//
// A received state is complete and durable before it gets its name of state-N, and that
// one step, the renaming of a directory, makes it the member's state.
const (
	statePrefix    = stateName + "-"
	incomingName   = "incoming"
	receivedPrefix = "received-"
	outgoingName   = "outgoing"
)

// numbered is the number behind a prefix.
func numbered(name, prefix string) (n uint64, ok bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && strconv.FormatUint(n, 10) == digits
}

// stateNumber is the number of a directory that holds, or held, the state: zero for
// the one of the founding.
func stateNumber(name string) (n uint64, ok bool) {
	if name == stateName {
		return 0, true
	}
	n, ok = numbered(name, statePrefix)
	return n, ok && n > 0
}

// isStateDir reports whether a name is one of those above.
func isStateDir(name string) bool {
	_, state := stateNumber(name)
	_, received := numbered(name, receivedPrefix)
	return state || received || name == incomingName || name == outgoingName
}

// newestState is the number of the present state; ok is false if there is none.
func (d *dataDir) newestState() (n uint64, ok bool, err error) {
	names, err := d.fs.List(d.path)
	if err != nil {
		return 0, false, err
	}
	for _, name := range names {
		if number, is := stateNumber(name); is {
			n, ok = max(n, number), true
		}
	}
	return n, ok, nil
}

func stateDirName(n uint64) string {
	if n == 0 {
		return stateName
	}
	return statePrefix + strconv.FormatUint(n, 10)
}

// statePath is where the state is, or is to be founded.
func (d *dataDir) statePath() (string, error) {
	n, _, err := d.newestState()
	return d.join(stateDirName(n)), err
}

// adopt makes a received state, which is complete and durable, the member's, and
// returns where it is now. The one before stays until it is closed, or the member is
// started again.
func (d *dataDir) adopt(received string) (string, error) {
	n, ok, err := d.newestState()
	if err != nil {
		return "", err
	}
	if ok {
		n++
	}
	path := d.join(stateDirName(n))
	if err := d.fs.Rename(received, path); err != nil {
		return "", fmt.Errorf("make %s the state: %w", received, err)
	}
	return path, d.sync()
}

// setReceived gives a state that has been received whole, as of index, the name under
// which it waits to be installed: what is received meanwhile is another.
func (d *dataDir) setReceived(index uint64) (string, error) {
	path := d.join(receivedPrefix + strconv.FormatUint(index, 10))
	if err := d.removeDir(path); err != nil {
		return "", err
	}
	if err := d.fs.Rename(d.join(incomingName), path); err != nil {
		return "", err
	}
	return path, d.sync()
}

// clearStates removes the states that have been replaced, and what a process that is
// gone has sent. A state that was received and never installed is taken for one that is
// being received: what is right about it need not be sent again.
func (d *dataDir) clearStates() error {
	names, err := d.fs.List(d.path)
	if err != nil {
		return err
	}
	newest, _, err := d.newestState()
	if err != nil {
		return err
	}
	if err := d.clearReceived(names); err != nil {
		return err
	}
	for _, name := range names {
		if n, ok := stateNumber(name); name == outgoingName || ok && n < newest {
			if err := d.removeDir(d.join(name)); err != nil {
				return fmt.Errorf("remove what an earlier run has left: %w", err)
			}
		}
	}
	return nil
}

// clearReceived keeps the newest of the states that were received, to go on with it.
func (d *dataDir) clearReceived(names []string) error {
	newest, found := uint64(0), false
	for _, name := range names {
		if n, ok := numbered(name, receivedPrefix); ok {
			newest, found = max(newest, n), true
		}
	}
	if !found {
		return nil
	}
	if err := d.removeDir(d.join(incomingName)); err != nil {
		return err
	}
	if err := d.fs.Rename(d.join(receivedPrefix+strconv.FormatUint(newest, 10)), d.join(incomingName)); err != nil {
		return err
	}
	return d.removeReceived(names)
}

// removeReceived removes the states among names that were received and are not to be
// installed.
func (d *dataDir) removeReceived(names []string) error {
	for _, name := range names {
		if _, ok := numbered(name, receivedPrefix); ok {
			if err := d.removeDir(d.join(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeDir removes a directory, which need not be there.
func (d *dataDir) removeDir(path string) error {
	if err := d.fs.RemoveAll(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
