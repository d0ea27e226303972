import { createAction } from 'nango';
import { z } from 'zod';
import { AcmeContact, Contact, toContact } from '../models.js';

/** Creates a contact in Acme CRM and returns it in the app's own shape. */
export default createAction({
    description: 'Creates a contact in Acme CRM',
    version: '1.0.0',
    input: z.object({
        firstName: z.string(),
        lastName: z.string(),
        email: z.string().optional(),
        company: z.string().optional()
    }),
    output: Contact,
    scopes: ['contacts.write'],

    exec: async (nango, input) => {
        if (!input.firstName || !input.lastName) {
            throw new nango.ActionError({ type: 'invalid_input', message: 'firstName and lastName are required' });
        }
        const response = await nango.post({
            endpoint: '/v1/contacts',
            data: { first_name: input.firstName, last_name: input.lastName, email: input.email, company: input.company },
            retries: 3
        });
        return toContact(AcmeContact.parse(response.data));
    }
});
