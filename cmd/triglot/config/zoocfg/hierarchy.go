package zoocfg

import (
	"fmt"
	"strings"
)

// checkHierarchy refuses groups and weights of servers that ZooKeeper refuses
// (QuorumHierarchical). They mean nothing to a server by itself.
func (e *Ensemble) checkHierarchy(list []Property) error {
	hierarchical := false
	grouped, weighted := make(map[int64]bool), make(map[int64]bool)
	for _, s := range e.Servers {
		weighted[s.ID] = !s.Observer // 1 unless given
	}
	for _, p := range list {
		if !isHierarchy(p.Key) {
			continue
		}
		hierarchical = true
		id, err := parseInt(p.Key, p.Key[strings.Index(p.Key, ".")+1:], 64)
		if err != nil {
			return err
		}
		if strings.HasPrefix(p.Key, "group") {
			if err := takeGroup(p, grouped); err != nil {
				return err
			}
			continue
		}
		if _, err := parseInt(p.Key, p.Value, 64); err != nil {
			return err
		}
		weighted[id] = true
	}
	if !hierarchical {
		return nil
	}
	for _, s := range e.Servers {
		if !s.Observer && !grouped[s.ID] {
			return fmt.Errorf("Server %d is not in a group", s.ID)
		}
	}
	for id := range grouped {
		if !weighted[id] { // ZooKeeper ends with a NullPointerException
			return fmt.Errorf("server %d is in a group but has no weight, and is no participant", id)
		}
	}
	return nil
}

// takeGroup reads group.N=ID[:ID...].
func takeGroup(p Property, grouped map[int64]bool) error {
	for text := range strings.SplitSeq(strings.TrimRight(p.Value, ":"), ":") { // as Java's split
		id, err := parseInt(p.Key, text, 64)
		if err != nil {
			return err
		}
		if grouped[id] {
			return fmt.Errorf("Server %d is in multiple groups", id)
		}
		grouped[id] = true
	}
	return nil
}
