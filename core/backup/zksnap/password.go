package zksnap

import "github.com/triglot/triglot/core"

// passwordSalt is what ZooKeeper mixes into a session's id (ZooKeeper 3.9
// ZooKeeperServer.superSecret).
const passwordSalt = 0xB3415C00

// Password is the one that the client of a ZooKeeper's session knows, and which a
// snapshot does not hold: it follows from the id (ZooKeeper 3.9 ZooKeeperServer
// .generatePasswd), by what java.util.Random is documented to do. It is no secret.
func Password(id core.LeaseID) (p [16]byte) {
	const multiplier, mask = 0x5DEECE66D, 1<<48 - 1
	state := (uint64(id) ^ passwordSalt ^ multiplier) & mask
	for i := range p {
		if i%4 == 0 {
			state = (state*multiplier + 0xB) & mask
		}
		p[i] = byte(state >> (16 + 8*(i%4)))
	}
	return p
}
