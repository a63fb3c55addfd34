package filestore

// Abandon ends the store as the end of its process does: nothing is closed in order.
func (s *Store) Abandon() {
	if s.shut() {
		s.io.Lock()
		defer s.io.Unlock()
		s.release()
	}
}
