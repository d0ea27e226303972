package sandbox

import (
	"mime"
	"net/http"

	"github.com/patchbay-dev/patchbay/internal/sandbox/crm"
)

// readContact decodes a contact body. False means that the refusal was answered.
func readContact(w http.ResponseWriter, r *http.Request) (crm.Input, bool) {
	var in crm.Input
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		failf(w, http.StatusUnsupportedMediaType, "unsupported_media_type", "Send application/json.")
		return in, false
	}
	if err := decode(w, r, &in); err != nil {
		failf(w, http.StatusBadRequest, "invalid_body", "The %s.", err)
		return in, false
	}
	return in, true
}

func invalidContact(w http.ResponseWriter, wrong crm.Invalid) {
	answer(w, http.StatusUnprocessableEntity, map[string]problem{
		"error": {Code: "validation_failed", Message: "The contact is not valid.", Fields: wrong},
	})
}

func noContact(w http.ResponseWriter) {
	failf(w, http.StatusNotFound, "not_found", "There is no such contact.")
}

func (s *Server) getContact(w http.ResponseWriter, r *http.Request, _ caller) {
	s.mu.RLock()
	c, found := s.contacts.Find(r.PathValue("id"))
	s.mu.RUnlock()
	if !found {
		noContact(w)
		return
	}
	answer(w, http.StatusOK, c)
}

func (s *Server) createContact(w http.ResponseWriter, r *http.Request, _ caller) {
	in, ok := readContact(w, r)
	if !ok {
		return
	}
	var c crm.Contact
	var wrong crm.Invalid
	var fits bool
	var e event
	err := s.update(func() bool {
		if c, wrong, fits = s.contacts.Create(in, s.now()); fits {
			e = s.hooks.event(eventCreated, c, s.now())
		}
		return fits
	})
	switch {
	case err != nil:
		s.broken(w, r, err)
	case len(wrong) > 0:
		invalidContact(w, wrong)
	case !fits:
		failf(w, http.StatusConflict, "contact_limit", "No more than %d contacts can be created; reset the sandbox.", crm.MaxCreated)
	default:
		s.publish(e)
		w.Header().Set("Location", ownURL(r).Path+"/"+c.ID)
		answer(w, http.StatusCreated, c)
	}
}

// changeContact sets the fields that the body names and leaves the others.
func (s *Server) changeContact(w http.ResponseWriter, r *http.Request, _ caller) {
	in, ok := readContact(w, r)
	if !ok {
		return
	}
	var c crm.Contact
	var wrong crm.Invalid
	var changed bool
	var e event
	err := s.update(func() bool {
		if c, wrong, changed = s.contacts.Change(r.PathValue("id"), in, s.now()); changed {
			e = s.hooks.event(eventUpdated, c, s.now())
		}
		return changed
	})
	switch {
	case err != nil:
		s.broken(w, r, err)
	case len(wrong) > 0:
		invalidContact(w, wrong)
	case !changed:
		noContact(w)
	default:
		s.publish(e)
		answer(w, http.StatusOK, c)
	}
}

func (s *Server) deleteContact(w http.ResponseWriter, r *http.Request, _ caller) {
	var found bool
	var e event
	err := s.update(func() bool {
		var c crm.Contact
		if c, found = s.contacts.Remove(r.PathValue("id"), s.now()); found {
			e = s.hooks.event(eventDeleted, c, s.now())
		}
		return found
	})
	switch {
	case err != nil:
		s.broken(w, r, err)
	case !found:
		noContact(w)
	default:
		s.publish(e)
		w.WriteHeader(http.StatusNoContent)
	}
}
