import './acme-crm/syncs/contacts.js';
import './acme-crm/actions/create-contact.js';
