package command

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command/commandpb"
)

// The functions of this file translate what ZooKeeper's face replicates.

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

func znodeWriteToPB(w *core.ZnodeWrite) *commandpb.ZnodeWrite {
	m := &commandpb.ZnodeWrite{Session: sessionToPB(w.Session), Multi: w.Multi}
	ops := make([]commandpb.ZnodeOp, len(w.Ops)) // one allocation for all
	m.Ops = make([]*commandpb.ZnodeOp, len(w.Ops))
	for i := range w.Ops {
		op, pb := &w.Ops[i], &ops[i]
		pb.Type = uint32(op.Type)
		pb.Path, pb.Data, pb.Null = []byte(op.Path), op.Data, op.Null
		pb.Version = op.Version
		pb.Kind, pb.Sequential, pb.OpenAcl = uint32(op.Kind), op.Sequential, op.OpenACL
		m.Ops[i] = pb
	}
	return m
}

func znodeWriteFromPB(m *commandpb.ZnodeWrite) *core.ZnodeWrite {
	w := &core.ZnodeWrite{Session: sessionFromPB(m.Session), Multi: m.Multi, Ops: make([]core.ZnodeOp, len(m.Ops))}
	for i, pb := range m.Ops {
		w.Ops[i] = core.ZnodeOp{
			Type: core.ZnodeOpType(pb.Type), Path: string(pb.Path), Data: pb.Data, Null: pb.Null,
			Version: pb.Version, Kind: core.ZnodeKind(pb.Kind), Sequential: pb.Sequential, OpenACL: pb.OpenAcl,
		}
	}
	return w
}
