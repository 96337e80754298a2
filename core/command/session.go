package command

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command/commandpb"
)

// The functions of this file translate the commands of sessions.

func sessionToPB(s core.SessionRef) *commandpb.SessionRef {
	return &commandpb.SessionRef{Id: int64(s.ID), Epoch: s.Epoch}
}

func sessionFromPB(m *commandpb.SessionRef) core.SessionRef {
	return core.SessionRef{ID: core.LeaseID(m.GetId()), Epoch: m.GetEpoch()}
}

func decodeSession(field protowire.Number, body []byte) (core.Command, error) {
	switch field {
	case fieldSessionOpen:
		var m commandpb.SessionOpen
		if err := m.UnmarshalVTUnsafe(body); err != nil {
			return nil, err
		}
		secret, err := secretFromPB(m.Secret)
		return &core.SessionOpen{ID: core.LeaseID(m.Id), Timeout: milliseconds(m.TimeoutMs), Secret: secret}, err
	case fieldSessionAttach:
		var m commandpb.SessionAttach
		if err := m.UnmarshalVTUnsafe(body); err != nil {
			return nil, err
		}
		secret, err := secretFromPB(m.Secret)
		return &core.SessionAttach{ID: core.LeaseID(m.Id), Timeout: milliseconds(m.TimeoutMs), Secret: secret}, err
	default:
		var m commandpb.SessionClose
		err := m.UnmarshalVTUnsafe(body)
		return &core.SessionClose{Session: sessionFromPB(m.Session)}, err
	}
}

func secretFromPB(b []byte) (core.SecretHash, error) {
	var h core.SecretHash
	if len(b) != len(h) {
		return h, fmt.Errorf("the hash of a secret has %d bytes", len(b))
	}
	copy(h[:], b)
	return h, nil
}
