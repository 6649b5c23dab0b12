// Package voice prints what a member of a group owns and reads, as ../../../python/member.py says.
package voice

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
)

// Voice knows what its member owns.
type Voice struct {
	mutex sync.Mutex
	owned map[int32]bool
}

// New is the voice of a member that owns nothing yet.
func New() *Voice { return &Voice{owned: map[int32]bool{}} }

// Change prints what is owned after a change.
func (v *Voice) Change(partitions []int32, owned bool) {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	for _, partition := range partitions {
		if owned {
			v.owned[partition] = true
		} else {
			delete(v.owned, partition)
		}
	}
	var numbers []int
	for partition := range v.owned {
		numbers = append(numbers, int(partition))
	}
	sort.Ints(numbers)
	line := "own"
	for _, number := range numbers {
		line += fmt.Sprintf(" %d", number)
	}
	fmt.Fprintln(os.Stdout, line)
}

// Read is the line of one record.
func Read(partition int32, offset int64, value []byte) string {
	return fmt.Sprintf("read %d %d %s\n", partition, offset, value)
}

// Say writes lines at once.
func Say(lines ...string) {
	if len(lines) > 0 {
		os.Stdout.WriteString(strings.Join(lines, ""))
	}
}
